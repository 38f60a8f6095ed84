"""A process that serves one agent over Redis, for tests that kill it: `python -m tests.a2a.far_worker URL AGENT`.

It replies with what it got and its process id, 20 ms later; it ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.server import A2AServer
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a.teams import KEYS

LEASE_S = 0.6


async def late_echo(message):
    await asyncio.sleep(0.02)
    return [message.payload, os.getpid()]


async def pieces(message):
    for number in range(40):
        yield [number, os.getpid()]
        await asyncio.sleep(0.005)


async def serve(url: str, agent: str) -> None:
    carrier = RedisCarrier(url, keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=LEASE_S)
    async with A2AServer(carrier=carrier) as a2a:
        a2a.register(agent, late_echo)
        a2a.register(f"{agent}-streams", pieces)
        await asyncio.sleep(0.1)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


@contextmanager
def far_worker(url: str, agent: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.a2a.far_worker", url, agent]
    worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
        yield worker
    finally:
        worker.kill()
        worker.wait(timeout=10)
        for pipe in (worker.stdin, worker.stdout):
            if pipe is not None:
                pipe.close()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2]))
