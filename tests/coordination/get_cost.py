"""What a command to Redis costs this process: `python -m tests.coordination.get_cost`.

It prints microseconds of CPU per command, with 1, 4 and 32 asking at once.

A real server runs beside it. Each figure is the best of several rounds, because other work on the machine only ever
adds. redis-py's own GET and pipeline stand beside ours for comparison. A script, not a test: nothing is asserted.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import uvloop
from redis.asyncio import Redis

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination import commands as c
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.telemetry.metrics import Metrics
from tests.valkey_process import valkey

VALUE = b"x" * 200
ROUNDS = 5
COMMANDS = 4000
AT_ONCE = (1, 4, 32)


async def cost_us(ask: Callable[[], Awaitable[object]], *, at_once: int, each: int = 1) -> float:
    """CPU of this thread per command, `each` of them in one `ask`."""

    async def repeat(times: int) -> None:
        for _ in range(times):
            await ask()

    best = float("inf")
    times = COMMANDS // at_once // each
    for _ in range(ROUNDS):
        start_s = time.thread_time()
        await asyncio.gather(*(repeat(times) for _ in range(at_once)))
        best = min(best, (time.thread_time() - start_s) / (times * at_once * each) * 1e6)
    return best


def tell(what: str, figures: list[float]) -> None:
    sys.stdout.write(what + "".join(f"{figure:8.1f}" for figure in figures) + "\n")


async def ours(shared: Shared, name: str) -> None:
    await shared.ask(c.Put("k", VALUE, 600))
    bucket = c.Bucket("b", capacity=1e9, refill_per_s=1e6, amount=1)
    asked: dict[str, c.Command[object]] = {
        "Get": c.Get("k"), "Put": c.Put("k", VALUE, 600), "Put in a group": c.Put("k", VALUE, 600, "g"),
        "PutNewer": c.PutNewer("v", VALUE, 1, 600), "Reserve": c.Reserve((bucket,)), "Count": c.Count("n", 1, 600),
    }  # fmt: skip
    for what, command in asked.items():
        figures = [await cost_us(lambda: shared.ask(command), at_once=count) for count in AT_ONCE]  # noqa: B023
        tell(f"{name:12} {what:15}", figures)


async def theirs(port: int) -> None:
    client = Redis(port=port, protocol=2)
    await client.set("k", VALUE)

    async def pipelined() -> None:
        pipe = client.pipeline(transaction=False)
        for _ in range(32):
            pipe.get("k")
        await pipe.execute()

    tell(f"{'redis-py':12} {'GET':15}", [await cost_us(lambda: client.get("k"), at_once=count) for count in AT_ONCE])
    tell(f"{'redis-py':12} {'pipeline of 32':15}", [await cost_us(pipelined, at_once=1, each=32)])
    await client.aclose()


async def main(port: int) -> None:
    await theirs(port)
    url = f"redis://127.0.0.1:{port}"
    shared = RedisShared(url, clock=SystemClock(), rng=Rng(), metrics=Metrics(), timeout_s=1.0)
    await shared.open()
    await ours(shared, "RedisShared")
    await shared.close()
    await ours(LocalShared(SystemClock()), "LocalShared")


if __name__ == "__main__":
    with valkey() as server:
        uvloop.run(main(server.port))
