"""Two writers of one state, neither of which loses what the other wrote: load, change, save over what was loaded.

python examples/state_together.py
"""

import asyncio

from ngx_agents import Owner, StateManager
from ngx_agents.errors import StateConflict


async def log_workout(manager: StateManager, owner: Owner, workout: str) -> int:
    """How many attempts it took."""
    for attempt in range(1, 100):
        conversation = await manager.load(owner, "training")
        conversation.state.setdefault("workouts", []).append(workout)
        try:
            await manager.save(owner, "training", conversation.state, expected_version=conversation.version)
        except StateConflict:
            continue  # somebody was faster: load theirs, add ours to it
        return attempt
    raise SystemExit("too many writers")


async def main() -> None:
    ana = Owner("acme", "ana")
    async with StateManager() as manager:
        attempts = await asyncio.gather(*(log_workout(manager, ana, f"workout {number}") for number in range(5)))
        conversation = await manager.load(ana, "training")
        print(sorted(conversation.state["workouts"]))
        print(f"{sum(attempts)} attempts for {len(attempts)} writes")


asyncio.run(main())
