"""An agent that asks others: they inherit its deadline, class and budget, and what they spend is spent for all.

python examples/a2a_team.py
"""

import asyncio
import time

from ngx_agents import A2AServer
from ngx_agents.a2a.message import A2AMessage, Budget
from ngx_agents.a2a.refusals import BudgetSpent, CallsUnbounded


async def specialist(message: A2AMessage) -> str:
    left_s = message.deadline_s - time.monotonic()
    message.context.spend(tokens=400)
    return f"{message.agent}: class {message.turn_class}, depth {message.depth}, {left_s:.0f} s left"


async def coach(message: A2AMessage) -> list[str]:
    """Asks two specialists at once; a third call finds the budget spent."""
    context = message.context
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(context.request(agent, message.payload)) for agent in ("nutrition", "training")]
    told = [str(task.result()) for task in asked]
    try:
        await context.request("nutrition", "once more")
    except BudgetSpent as spent:
        told.append(f"coach: {spent}")
    return told


async def echo_chamber(message: A2AMessage) -> object:
    other = "left" if message.agent == "right" else "right"
    return await message.context.request(other, message.payload)


async def main() -> None:
    a2a = A2AServer()
    for name in ("nutrition", "training"):
        a2a.register(name, specialist)
    for name in ("left", "right"):
        a2a.register(name, echo_chamber)
    a2a.register("coach", coach)
    async with a2a:
        turn = a2a.context(deadline_s=time.monotonic() + 30, turn_class=0, budget=Budget(tokens=800))
        told = await turn.request("coach", "plan my week")
        assert isinstance(told, list)
        print(*told, sep="\n")
        print(f"the turn spent {turn.tokens_spent} tokens in {turn.calls_made} calls")
        try:
            await a2a.request("left", "for ever")
        except CallsUnbounded as loop:
            print(f"a loop ends: {loop}")


asyncio.run(main())
