"""`batches`: many messages in one request against the same messages one by one, and who talks beside a batch."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from typing import Any

import aiohttp

from benchmarks.effort import Effort
from benchmarks.processes import REST_CORES, SERVER_CORES, BenchmarkError, Server, emulator, ngx_server
from benchmarks.report import Line, Outcome

INPUTS = 3000
OUTLASTING = 9000
TALKERS = 32
QUESTION = "Short training advice, version {} of week {}"
TALK_EVERY_S = 0.1
LINES = {"Content-Type": "application/jsonl"}
POLL_S = 0.05
ANSWER_MS = 400.0
LIMIT_S = 300.0


def batches(effort: Effort) -> Outcome:
    """Templates show what a batch costs; a model that takes its time shows how much of the places it fills."""
    inputs = effort.count(INPUTS)
    with emulator(cores=REST_CORES) as model:
        idle = {"NGX_VERTEX_BASE_URL": "", "NGX_VERTEX_CACHE_ENABLED": "false"}
        with ngx_server(model.url, cores=SERVER_CORES, settings=idle) as server:
            templates = asyncio.run(_compared(server, inputs))
    with emulator(ttft_ms=ANSWER_MS / 2, chunks=5, chunk_gap_ms=ANSWER_MS / 10, cores=REST_CORES) as model:
        slow = {"NGX_VERTEX_CACHE_ENABLED": "false", "NGX_VERTEX_CONNECTION_POOL_SIZE": "256"}
        with ngx_server(model.url, cores=SERVER_CORES, settings=slow) as server:
            modelled = asyncio.run(_compared(server, inputs))
    lines = [*_lines("templates", templates), *_lines(f"answers of {ANSWER_MS:.0f} ms", modelled)]
    return Outcome(name="batches", lines=lines, data={"templates": templates, "model": modelled})


def _lines(what: str, found: dict[str, float]) -> list[Line]:
    return [
        Line(what=f"inputs of a batch, {what}", measured=found["batch_per_s"], unit="1/s"),
        Line(what=f"turns one by one, {TALKERS} at once, {what}", measured=found["turns_per_s"], unit="1/s"),
        Line(what=f"CPU of an input, {what}", measured=found["batch_cpu_us"], unit="us"),
        Line(what=f"CPU of a turn, {what}", measured=found["turn_cpu_us"], unit="us"),
        Line(what=f"turn of who talks alone, median, {what}", measured=found["alone_p50_ms"], unit="ms"),
        Line(what=f"p95 of it, {what}", measured=found["alone_p95_ms"], unit="ms"),
        Line(what=f"inputs of a batch beside who talks, {what}", measured=found["beside_per_s"], unit="1/s"),
        Line(what=f"turn of who talks beside it, median, {what}", measured=found["beside_p50_ms"], unit="ms"),
        Line(what=f"p95 of it beside the batch, {what}", measured=found["beside_p95_ms"], unit="ms"),
    ]


async def _compared(server: Server, inputs: int) -> dict[str, float]:
    headers = {"Authorization": f"Bearer {server.api_key}"}
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await _one_by_one(session, server, inputs // 10, week=0)
        turns_s, turn_cpu_s = await _timed(server, _one_by_one(session, server, inputs, week=1))
        batch_s, batch_cpu_s = await _timed(server, _in_a_batch(session, server, inputs, week=2))
        alone = await _talk(session, server, 30)
        beside, beside_per_s = await _talk_beside(session, server, 60)
    return {
        "batch_per_s": inputs / batch_s, "turns_per_s": inputs / turns_s, "batch_cpu_us": batch_cpu_s / inputs * 1e6,
        "turn_cpu_us": turn_cpu_s / inputs * 1e6, "alone_p50_ms": statistics.median(alone) * 1e3,
        "alone_p95_ms": statistics.quantiles(alone, n=20)[-1] * 1e3, "beside_p50_ms": statistics.median(beside) * 1e3,
        "beside_p95_ms": statistics.quantiles(beside, n=20)[-1] * 1e3, "beside_per_s": beside_per_s,
    }  # fmt: skip


async def _timed(server: Server, work: Any) -> tuple[float, float]:
    began_s, cpu_s = time.perf_counter(), server.cpu_s()
    await work
    return time.perf_counter() - began_s, server.cpu_s() - cpu_s


async def _in_a_batch(session: aiohttp.ClientSession, server: Server, inputs: int, *, week: int) -> None:
    batch = await _begun(session, server, inputs, week=week)
    async with asyncio.timeout(LIMIT_S):
        while batch["finished_at"] is None:
            await asyncio.sleep(POLL_S)
            batch = await _shown(session, server, batch["id"])
    if batch["counts"]["completed"] != inputs:
        raise BenchmarkError(f"not all were answered: {batch['counts']}")


async def _begun(session: aiohttp.ClientSession, server: Server, inputs: int, *, week: int) -> dict[str, Any]:
    body = "\n".join(json.dumps({"text": QUESTION.format(number, week)}) for number in range(inputs))
    async with session.post(f"{server.url}/v1/batches", data=body, headers=LINES) as answer:
        made: dict[str, Any] = await answer.json()
        if answer.status != 201:
            raise BenchmarkError(f"no batch: {made}")
    return made


async def _shown(session: aiohttp.ClientSession, server: Server, batch_id: str) -> dict[str, Any]:
    async with session.get(f"{server.url}/v1/batches/{batch_id}") as answer:
        shown: dict[str, Any] = await answer.json()
    return shown


async def _talk_beside(session: aiohttp.ClientSession, server: Server, times: int) -> tuple[list[float], float]:
    """Seconds of each turn beside a batch that outlasts them, and how many of its inputs end in a second meanwhile."""
    batch = await _begun(session, server, OUTLASTING, week=3)
    began_s = time.perf_counter()
    found = await _talk(session, server, times)
    passed_s = time.perf_counter() - began_s
    shown = await _shown(session, server, batch["id"])
    if shown["finished_at"] is not None:
        raise BenchmarkError("the batch ended before the talk")
    async with session.post(f"{server.url}/v1/batches/{batch['id']}/cancel") as answer:
        await answer.read()
    return found, shown["counts"]["completed"] / passed_s


async def _one_by_one(session: aiohttp.ClientSession, server: Server, count: int, *, week: int) -> None:
    """A conversation for each, as a batch has it."""
    numbers = iter(range(count))

    async def talker() -> None:
        for number in numbers:
            await _say(session, server, QUESTION.format(number, week))

    await asyncio.gather(*(talker() for _ in range(TALKERS)))


async def _say(session: aiohttp.ClientSession, server: Server, text: str) -> float:
    async with session.post(f"{server.url}/v1/conversations", json={}) as answer:
        lane = (await answer.json())["id"]
    began_s = time.perf_counter()
    async with session.post(f"{server.url}/v1/conversations/{lane}/turns", json={"text": text}) as answer:
        turn = await answer.json()
        if answer.status != 200 or turn["status"] != "completed":
            raise BenchmarkError(f"a turn was not answered: {turn}")
    return time.perf_counter() - began_s


async def _talk(session: aiohttp.ClientSession, server: Server, times: int) -> list[float]:
    """Seconds of each turn of somebody who says something ten times a second."""
    found = []
    for number in range(times):
        found.append(await _say(session, server, QUESTION.format(number, "mía")))
        await asyncio.sleep(TALK_EVERY_S)
    return found
