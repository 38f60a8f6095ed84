"""Three agents in one process: a question, a stream, an announcement to all, and what a refusal looks like.

python examples/a2a_ask.py
"""

import asyncio
import time
from collections.abc import AsyncIterator

from ngx_agents import A2AServer
from ngx_agents.a2a.message import A2AMessage
from ngx_agents.a2a.refusals import AgentBusy


async def nutrition(message: A2AMessage) -> str:
    return f"{message.payload}: 18 g of protein a cup"


async def training(message: A2AMessage) -> AsyncIterator[str]:
    for day in ("Monday: squats", "Wednesday: a run", "Friday: rest"):
        yield day


async def slow(message: A2AMessage) -> str:
    await asyncio.sleep(0.2)
    return "done"


async def main() -> None:
    a2a = A2AServer(message_queue_size=1, worker_threads=1, message_timeout=0.05)
    a2a.register("nutrition", nutrition)
    a2a.register("training", training)
    a2a.register("slow", slow)
    async with a2a:
        print(await a2a.request("nutrition", "lentils", deadline_s=time.monotonic() + 5, turn_class=1))
        async for day in a2a.stream("training", "three days a week", deadline_s=time.monotonic() + 5):
            print(day)
        for agent, reply in (await a2a.broadcast("hello", agents=["nutrition", "training"])).items():
            print(f"{agent} replied {reply!r}")
        await a2a.send("slow", "takes the one worker")
        try:
            await a2a.request("slow", "waits")
        except AgentBusy as busy:
            print(f"refused ({busy.reason}): {busy}; come back in {busy.retry_after_s:.2f} s")


asyncio.run(main())
