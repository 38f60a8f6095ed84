"""A conversation's state and messages, kept in a file: run it twice, and the second run goes on where the first ended.

python examples/state_conversation.py /tmp/coach.db
"""

import asyncio
import sys

from ngx_agents import Owner, StateManager


async def main(path: str) -> None:
    ana = Owner("acme", "ana")
    async with StateManager(path=path, cache_ttl=7200, compression_threshold=1024) as manager:
        conversation = await manager.load(ana, "marathon")
        week = conversation.state.get("week", 0) + 1
        await manager.append(ana, "marathon", "user", f"How was week {week}?")
        await manager.append(ana, "marathon", "assistant", f"Week {week} is done.", agent="progress_tracker")
        await manager.save(ana, "marathon", {"week": week}, expected_version=conversation.version)
        conversation = await manager.load(ana, "marathon", recent=4)
        print(f"week {conversation.state['week']}")
        for message in conversation.messages:
            print(f"{message.seq:3} {message.role}: {message.text}")


asyncio.run(main(sys.argv[1]))
