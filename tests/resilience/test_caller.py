from __future__ import annotations

import asyncio

from ngx_agents.resilience.caller import CALLER, Caller, tenant_now, urgency_of


async def test_what_a_task_starts_works_for_the_same_and_is_never_less_urgent() -> None:
    async def child() -> tuple[str, int, int]:
        return tenant_now(), urgency_of(0), urgency_of(3)

    async def turn(turn_class: int) -> tuple[str, int, int]:
        CALLER.set(Caller("acme", "ana", turn_class))
        async with asyncio.TaskGroup() as group:
            return await group.create_task(child())

    async with asyncio.TaskGroup() as group:
        urgent, usual = group.create_task(turn(0)), group.create_task(turn(2))
    assert urgent.result() == ("acme", 0, 0)
    assert usual.result() == ("acme", 0, 2)
    assert await child() == ("", 0, 3)
