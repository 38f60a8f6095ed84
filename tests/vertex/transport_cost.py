"""What a model call costs this process: `python -m tests.vertex.transport_cost` prints microseconds of CPU per call.

Each transport beside bare pyreqwest, in turns, so that what else the machine does hits all of them: a small call, and
a stream of 100 chunks that come at once. The emulators run beside it as processes of their own. `--gap-ms` puts time
between the chunks. A script, not a test: nothing here is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from pyreqwest.client import Client, ClientBuilder

from ngx_agents.clock import SystemClock
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.transport import Http2, PostCall, Transport
from ngx_agents.vertex.transport_aiohttp import AiohttpTransport
from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport
from tests.emulator_process import start_emulator

Call = Callable[[], Awaitable[None]]
MODEL = "/v1/projects/p/locations/global/publishers/google/models/gemini-3.8-flash"
BODY = b'{"contents":[{"role":"user","parts":[{"text":"How can I sleep better?"}]}]}'
HEADERS = {"content-type": "application/json"}
CHUNKS = 100
POOL_SIZE = 200
CLOCK = SystemClock()


def ours(transport: Transport, origin: str) -> dict[str, Call]:
    async def post() -> None:
        await transport.post(_call(origin, ":generateContent"))

    async def stream() -> None:
        async with transport.stream(_call(origin, ":streamGenerateContent?alt=sse")) as answer:
            async for _ in answer.chunks:
                pass

    return {"call": post, "stream": stream}


def bare(client: Client, origin: str) -> dict[str, Call]:
    async def post() -> None:
        request = client.post(f"{origin}{MODEL}:generateContent").headers(HEADERS).body_bytes(BODY).build()
        (await (await request.send()).bytes()).to_bytes()

    async def stream() -> None:
        request = client.post(f"{origin}{MODEL}:streamGenerateContent?alt=sse").headers(HEADERS).body_bytes(BODY)
        async with request.streamed_read_buffer_limit(0).build_streamed() as answer:
            while (chunk := await answer.body_reader.read_chunk()) is not None:
                chunk.to_bytes()

    return {"call": post, "stream": stream}


async def measure(variants: dict[str, Call], args: argparse.Namespace, calls: int) -> None:
    """Prints for each variant its median and least over the rounds, and the ratio of its median to the first's."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name, call in variants.items():
            began_s = time.process_time()
            await _together(call, args.at_once, calls)
            found[name].append((time.process_time() - began_s) * 1e6 / (args.at_once * calls))
    for name, values in found.items():
        protocol = name.rsplit(" ", 1)[1]
        base = statistics.median(found.get(f"bare {protocol}", values))
        middle = statistics.median(values)
        line = f"{name:24} median {middle:6.0f} us   least {min(values):6.0f} us   x{middle / base:.2f} of bare\n"
        sys.stdout.write(line)


async def _together(call: Call, at_once: int, calls: int) -> None:
    async def work() -> None:
        for _ in range(calls):
            await call()

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())


async def run(http1: str, http2: str, args: argparse.Namespace) -> None:
    clients = (
        ClientBuilder().no_proxy().http1_only().build(),
        ClientBuilder().no_proxy().http2_prior_knowledge().build(),
    )
    async with (
        _pyreqwest("off") as one,
        _pyreqwest("prior_knowledge") as two,
        AiohttpTransport(connection_pool_size=POOL_SIZE, clock=CLOCK, on_wait=_ignore) as second,
    ):
        kinds = {
            "bare http1": bare(clients[0], http1),
            "bare http2": bare(clients[1], http2),
            "pyreqwest http1": ours(one, http1),
            "pyreqwest http2": ours(two, http2),
            "aiohttp http1": ours(second, http1),
        }
        for job, calls in (("call", args.calls), ("stream", max(1, args.calls // 25))):
            sys.stdout.write(f"{job}, {args.at_once} at once\n")
            await measure({name: kind[job] for name, kind in kinds.items()}, args, calls)


def _pyreqwest(http2: Http2) -> PyreqwestTransport:
    return PyreqwestTransport(
        connection_pool_size=POOL_SIZE, http2=http2, clock=CLOCK, courtesy=Courtesy(), on_wait=_ignore
    )


def _call(origin: str, operation: str) -> PostCall:
    return PostCall(origin, MODEL + operation, HEADERS, BODY, CLOCK.monotonic_s() + 60)


def _ignore(waited_s: float) -> None:
    del waited_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--calls", type=int, default=100, help="by each; streams a 25th of it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gap-ms", type=float, default=0.0)
    parser.add_argument("--pin", action="store_true", help="this process on the first core only")
    args = parser.parse_args()
    if args.pin:
        os.sched_setaffinity(0, {0})
    gap: dict[str, float] = {"chunks": CHUNKS, "chunk_gap_ms": args.gap_ms}
    with start_emulator(**gap) as http1, start_emulator(http2=True, **gap) as http2:
        uvloop.run(run(http1, http2, args))


if __name__ == "__main__":
    main()
