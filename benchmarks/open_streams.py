"""`streams3000`: slow streams open at once on one pool of the model transport, over HTTP/2.

The streams arrive evenly over ten seconds and last longer than that, so that all are open together. The emulator is a
process of its own; the client is this one: its CPU and memory are those of the transport and of the frames it splits.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles

import msgspec
import uvloop

from benchmarks.effort import Effort
from benchmarks.processes import BenchmarkError, Process, spawned
from benchmarks.report import Line, Outcome
from ngx_agents.clock import SystemClock
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.sse import FrameSplitter
from ngx_agents.vertex.transport import PostCall
from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport

STREAMS = 3000
CONNECTION_POOL_SIZE = 50
ARRIVE_WITHIN_S = 10.0
CHUNKS = 50
TTFT_MS = 200.0
GAP_MS = 500.0
LATE_BUDGET_MS = 100.0
DEADLINE_S = 120.0
PATH = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:streamGenerateContent?alt=sse"
BODY = msgspec.json.encode({"contents": [{"role": "user", "parts": [{"text": "How can I sleep better?"}]}]})
HEADERS = {"content-type": "application/json"}


class Watch:
    """What is open now, the most that was, and how late each first chunk came."""

    def __init__(self) -> None:
        self.open_now = 0
        self.open_most = 0
        self.late_ms: list[float] = []
        self.waited_ms: list[float] = []
        self.frames = 0

    def opened(self, late_ms: float) -> None:
        self.late_ms.append(late_ms)
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)


def streams3000(effort: Effort) -> Outcome:
    """Raises BenchmarkError when a stream fails or not all were open at once."""
    count = effort.count(STREAMS)
    watch = Watch()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # as the server does
    before_kb = _rss_kb()
    with _http2_emulator() as model:
        model_cpu_s = model.cpu_s()
        used = uvloop.run(_load(model.url, count, ARRIVE_WITHIN_S * effort.scale, watch))
        model_cpu_s = model.cpu_s() - model_cpu_s
    if watch.open_most < count or watch.frames != count * CHUNKS:
        raise BenchmarkError(f"{watch.open_most} of {count} streams were open at once, {watch.frames} frames came")
    cuts = quantiles(watch.late_ms, n=100)
    lines = [
        Line(
            what=f"first chunk late, p99, {count} streams open at once", measured=cuts[98], unit="ms",
            budget=LATE_BUDGET_MS, note=f"p50 {cuts[49]:.1f}, most {max(watch.late_ms):.0f}",
        ),
        Line(
            what=f"client CPU of a stream of {CHUNKS} chunks, {GAP_MS:.0f} ms apart",
            measured=used["cpu_s"] * 1e3 / count, unit="ms", note=f"emulator {model_cpu_s * 1e3 / count:.2f} ms",
        ),
        Line(what="client RSS of an open stream", measured=(used["rss_kb"] - before_kb) / count, unit="KB"),
        Line(what="connections", measured=used["connections"], unit="", budget=CONNECTION_POOL_SIZE),
    ]  # fmt: skip
    gc.unfreeze()
    return Outcome(name="streams3000", lines=lines, data={"late_ms": cuts, "waited_ms": watch.waited_ms, **used})


async def _load(url: str, count: int, within_s: float, watch: Watch) -> dict[str, float]:
    transport = PyreqwestTransport(
        connection_pool_size=CONNECTION_POOL_SIZE,
        http2="prior_knowledge",
        clock=SystemClock(),
        courtesy=Courtesy(),
        on_wait=lambda waited_s: watch.waited_ms.append(waited_s * 1e3),
    )
    used: dict[str, float] = {}
    began_s, cpu_s = time.perf_counter(), time.process_time()
    async with transport, asyncio.TaskGroup() as group:
        tasks = []
        for number in range(count):
            await asyncio.sleep(began_s + number * within_s / count - time.perf_counter())
            tasks.append(group.create_task(_stream(transport, url, watch)))
        await tasks[count // 2]
        used["rss_kb"], used["connections"] = _rss_kb(), _connections(url)
        await asyncio.wait(tasks)
    return {**used, "cpu_s": time.process_time() - cpu_s, "seconds": time.perf_counter() - began_s}


async def _stream(transport: PyreqwestTransport, url: str, watch: Watch) -> None:
    began_s = time.perf_counter()
    splitter = FrameSplitter()
    is_open = False
    async with transport.stream(PostCall(url, PATH, HEADERS, BODY, time.monotonic() + DEADLINE_S)) as answer:
        async for chunk in answer.chunks:
            if not is_open:
                is_open = True
                watch.opened((time.perf_counter() - began_s) * 1e3 - TTFT_MS)
            watch.frames += len(splitter.feed(chunk))
    watch.open_now -= 1


@contextmanager
def _http2_emulator() -> Iterator[Process]:
    command = [sys.executable, "-m", "ngx_agents.vertex.emulator", "--port", "0", "--http2"]
    command += ["--ttft-ms", str(TTFT_MS), "--chunks", str(CHUNKS), "--chunk-gap-ms", str(GAP_MS)]
    with spawned(command) as process:
        assert process.popen.stdout is not None
        process.url = process.popen.stdout.readline().strip()
        if not process.url:
            raise BenchmarkError("the emulator did not start")
        yield process


def _rss_kb() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4


def _connections(url: str) -> int:
    """Sockets of this host that are connected to the emulator."""
    port = f":{int(url.rsplit(':', 1)[1]):04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[2].endswith(port) and row[3] == "01")
