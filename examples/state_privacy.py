"""What a user may ask of whoever keeps their data: consent, an attachment, everything that is stored, and erasure.

python examples/state_privacy.py
"""

import asyncio
import json

from ngx_agents import Owner, StateManager


async def main() -> None:
    ana = Owner("acme", "ana")
    async with StateManager() as manager:
        await manager.consent(ana, "health", version="2026-11")
        await manager.save(ana, "recovery", {"pain": {"knee": 4}})
        await manager.append(ana, "recovery", "user", "My knee hurts after running.")
        report = await manager.attach(ana, b"date,hrv\n2026-11-24,61\n", "text/csv", conversation_id=None)
        print(f"stored {report.size_bytes} bytes, sha256 {report.sha256[:12]}")
        exported = await manager.export(ana)
        print(json.dumps({kind: len(things) for kind, things in exported.items()}))
        receipt = await manager.erase(ana)
        print(f"{receipt.id[:2]}… erased", {kind: count for kind, count in receipt.erased.items() if count})
        left = await manager.export(ana)
        print("left:", sum(len(things) for things in left.values()))


asyncio.run(main())
