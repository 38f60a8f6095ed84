"""`python -m benchmarks.team_on_bus`: what asking a specialist of the same process over the bus adds to a turn.

CPU of an answer of one and of fifty pieces, asked directly and as the crew asks: context, seat, counting, pieces. The
specialist does nothing but say them. The least of several rounds, each interleaved: what else runs only adds.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from typing import Any, cast

import uvloop

from ngx_agents.a2a.server import A2AServer
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.colleagues import Colleague, fallback_counter
from ngx_agents.agents.specialist import Specialist
from ngx_agents.agents.turn import AgentEvent, TurnTask
from ngx_agents.clock import SystemClock
from ngx_agents.state.model import Owner, Profile
from ngx_agents.telemetry.metrics import Metrics

ROUNDS = 15
TIMES = 500
AGENT = "agent"


class Saying:
    """A specialist that says `pieces` words."""

    reads = ()
    asks_others = False

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces

    async def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        for _ in range(self._pieces):
            yield work.say("word ")


def _task(deadline_s: float) -> TurnTask:
    return TurnTask(
        turn_id="t_00", conversation_id="c_00", owner=Owner("default", "ana"), text="", history=(), profile=Profile(),
        deadline_s=deadline_s, now=0.0,
    )  # fmt: skip


async def measure(pieces: int) -> tuple[float, float]:
    """µs of CPU (asked directly, asked over the bus)."""
    clock, metrics, saying = SystemClock(), Metrics(), Saying(pieces)
    async with A2AServer(worker_threads=256, metrics=metrics) as bus:
        colleague = Colleague(
            AGENT, cast("Specialist", saying), is_here=True, clock=clock, fallbacks=fallback_counter(metrics),
            spending=None,
        )  # fmt: skip
        bus.register(AGENT, colleague.handle)
        task = _task(clock.monotonic_s() + 3600.0)

        def brief() -> Brief:
            return Brief(
                task=task, desk=cast("Any", None), calls=bus.context(deadline_s=task.deadline_s), language="en",
                words=(), cautions=(), guidance=(), skills={}, history_tokens=0,
            )  # fmt: skip

        root = bus.context()

        def brief_alone() -> Brief:
            return Brief(
                task=task, desk=cast("Any", None), calls=root, language="en",
                words=(), cautions=(), guidance=(), skills={}, history_tokens=0,
            )  # fmt: skip

        async def direct() -> None:
            async with aclosing(saying.answer(brief_alone(), Work(agent=AGENT))) as events:
                async for _ in events:
                    pass

        async def over() -> None:
            async with aclosing(colleague.answer(brief(), Work(agent=AGENT))) as events:
                async for _ in events:
                    pass

        gc.collect()
        rounds = [(await _cpu_us(direct), await _cpu_us(over)) for _ in range(ROUNDS)]
        return min(one for one, _ in rounds), min(other for _, other in rounds)


async def _cpu_us(ask: Callable[[], Coroutine[Any, Any, None]]) -> float:
    began_s = time.process_time()
    for number in range(TIMES):
        await ask()
        if number % 16 == 0:
            await asyncio.sleep(0)
    return (time.process_time() - began_s) / TIMES * 1e6


def main() -> None:
    for pieces in (1, 50):
        direct, over = uvloop.run(measure(pieces))
        print(f"{pieces:3} pieces: directly {direct:.1f} µs, over the bus {over:.1f} µs, added {over - direct:.1f} µs")


if __name__ == "__main__":
    main()
