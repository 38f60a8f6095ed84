"""Work that nobody waits for: what takes it up, and the part of it that callers reach over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ngx_agents.app.roles import runs_turns
from ngx_agents.app.wiring import Parts
from ngx_agents.clock import Rng
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.principal import Principal
from ngx_agents.state.model import Owner
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.batches.taker import BatchSettings, BatchTaker
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnTicket
from ngx_agents.turns.schedules.runner import ScheduleRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Made and not yet at work."""

    taker: BatchTaker
    schedules: ScheduleRunner
    batches: BatchDesk


def build_later(parts: Parts, engine: TurnEngine, entrance: Entrance) -> Later:
    async def enter(owner: Owner, turn_class: int) -> TurnTicket:
        return await entrance.enter(Principal(owner), turn_class=turn_class)

    taker = BatchTaker(
        engine=engine,
        journal=parts.journal,
        modes=parts.foundation.modes,
        enter=enter,
        clock=engine.clock,
        rng=Rng(),
        metrics=parts.metrics,
        settings=BatchSettings(share=parts.config.batches.places_share),
    )
    batches = BatchDesk(
        engine=engine,
        journal=parts.journal,
        taker=taker,
        ids=parts.ids,
        clock=engine.clock,
        max_open=parts.config.batches.max_open,
    )
    schedules = ScheduleRunner(
        engine=engine,
        journal=parts.journal,
        modes=parts.foundation.modes,
        enter=enter,
        ids=parts.ids,
        clock=engine.clock,
        rng=Rng(),
        metrics=parts.metrics,
    )
    return Later(taker=taker, schedules=schedules, batches=batches)


@asynccontextmanager
async def later_at_work(parts: Parts, engine: TurnEngine, entrance: Entrance) -> AsyncIterator[Later]:
    """Takes up what waits until the context is left, where turns run at all."""
    later = build_later(parts, engine, entrance)
    loops = (later.taker.run, later.schedules.run) if runs_turns(parts.config) else ()
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()
    at_it = [tasks.create_task(loop()) for loop in loops]
    try:
        yield later
    finally:
        for task in at_it:
            task.cancel()
        await tasks.__aexit__(None, None, None)
