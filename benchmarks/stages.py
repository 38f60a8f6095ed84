"""`stages`: CPU of each stage of a unary turn against the design's table, with the real parts, in this process.

Every stage runs alone, many times over, between two readings of the process clock (all threads, so the journal's
writer and the model client's own threads count). What no stage covers is told as the difference to a whole turn.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from statistics import median

import msgspec
import uvloop

from benchmarks.effort import Effort
from benchmarks.processes import emulator
from benchmarks.report import Line, Outcome
from benchmarks.stage_edge import echo, edge_us, served_us
from benchmarks.stage_parts import House, history_of

REPEATS = 3
CONCURRENCY = 32


class Stage(msgspec.Struct, frozen=True):
    """`run(n)` does the stage's work n times and gives the CPU of one, in µs. `budget_us` is the design's."""

    name: str
    budget_us: float | None
    run: Callable[[int], Awaitable[float]]
    times: int


def stages(effort: Effort) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="ngx-bench-") as folder, emulator(chunks=50) as model:
        measured = uvloop.run(_measure_all(Path(folder), model.url, effort))
    lines = [
        Line(
            what=stage.name, measured=median(found), unit="µs", budget=stage.budget_us,
            note=f"{min(found):.1f} to {max(found):.1f}",
        )
        for stage, found in measured
    ]  # fmt: skip
    covered = sum(line.measured for line in lines if line.budget is not None)
    lines.append(Line(what="sum of the stages that have a budget", measured=covered, unit="µs", budget=360.0))
    return Outcome(name="stages", lines=lines, data={stage.name: found for stage, found in measured})


async def _measure_all(folder: Path, model_url: str, effort: Effort) -> list[tuple[Stage, list[float]]]:
    async with House(folder, model_url) as house:
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)  # as the server does
        measured = []
        for stage in _stages(house):
            times = effort.count(stage.times)
            await stage.run(max(1, times // 10))
            measured.append((stage, [await stage.run(times) for _ in range(REPEATS)]))
        return measured


def _stages(house: House) -> list[Stage]:
    past = history_of(8)
    return [
        Stage("for scale: bare ASGI echo, 22 µs where the budgets were made", None, served_us(echo, "c"), 4000),
        Stage("edge: uvicorn, routes, body in and out (real socket)", 35, edge_us(house.edge), 4000),
        Stage("auth: key to principal", 45, _each(house.authenticate), 20_000),
        Stage("journal: accept, history, profile, finish", 95, _at_once(house.store), 3000),
        Stage("router: words, language, route", 40, _plain(house.route), 5000),
        Stage("safety: red flags, cautions, the answer", 25, _plain(partial(house.screen, 1)), 5000),
        Stage("prompt: system, 8 messages, request", 15, _plain(partial(house.prompt, past)), 5000),
        Stage("vertex: one call, answered whole", 60, _at_once(house.call_model), 1500),
        Stage("events and metrics: stream, counters, timers", 25, _each(partial(house.tell, 1)), 5000),
        Stage("team: routing to last event, with model", None, _at_once(partial(house.answer, streamed=False)), 1500),
        Stage("turn: engine and all below, no HTTP", None, _at_once(partial(house.turn, streamed=False)), 1500),
        Stage("streamed, 50 pieces: safety", None, _plain(partial(house.screen, 50)), 3000),
        Stage("streamed, 50 pieces: vertex", None, _at_once(house.stream_model), 500),
        Stage("streamed, 50 pieces: events and metrics", None, _each(partial(house.tell, 50)), 3000),
        Stage("streamed, 50 pieces: team", None, _at_once(partial(house.answer, streamed=True)), 500),
        Stage("streamed, 50 pieces: turn, nobody reading", None, _at_once(partial(house.turn, streamed=True)), 500),
    ]


def _plain(call: Callable[[], object]) -> Callable[[int], Awaitable[float]]:
    async def run(times: int) -> float:
        began_s = time.process_time()
        for _ in range(times):
            call()
        return (time.process_time() - began_s) / times * 1e6

    return run


def _each(call: Callable[[], Awaitable[object]]) -> Callable[[int], Awaitable[float]]:
    async def run(times: int) -> float:
        began_s = time.process_time()
        for _ in range(times):
            await call()
        return (time.process_time() - began_s) / times * 1e6

    return run


def _at_once(call: Callable[[], Awaitable[object]]) -> Callable[[int], Awaitable[float]]:
    """CONCURRENCY of them at a time, as in a loaded server: commits and wake-ups are shared."""

    async def worker(times: int) -> None:
        for _ in range(times):
            await call()

    async def run(times: int) -> float:
        each = max(1, times // CONCURRENCY)
        began_s = time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CONCURRENCY):
                tasks.create_task(worker(each))
        return (time.process_time() - began_s) / (each * CONCURRENCY) * 1e6

    return run
