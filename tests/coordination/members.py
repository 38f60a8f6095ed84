"""Members that share over a Redis of the tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from tests.coordination.shared_conformance import MAX_VALUE_BYTES

# far more than a loaded test machine needs
PATIENT_S = 2.0


def member(url: str, *, metrics: Metrics | None = None, timeout_s: float = PATIENT_S) -> RedisShared:
    return RedisShared(
        url, clock=SystemClock(), rng=Rng(1), metrics=metrics or Metrics(), timeout_s=timeout_s,
        max_value_bytes=MAX_VALUE_BYTES,
    )  # fmt: skip


@asynccontextmanager
async def members(url: str, count: int = 2, **options: float) -> AsyncIterator[list[RedisShared]]:
    """Opened, and closed afterwards."""
    async with AsyncExitStack() as stack:
        opened = []
        for _ in range(count):
            one = member(url, **options)
            await one.open()
            stack.push_async_callback(one.close)
            opened.append(one)
        yield opened


async def until_it_works(ask: Callable[[], Awaitable[object]], *, within_s: float) -> float:
    """Repeats what is unavailable; says how many seconds it took, fails when it takes longer than `within_s`."""
    start_s = time.monotonic()
    while True:
        try:
            await ask()
        except SharedUnavailable:
            if time.monotonic() - start_s > within_s:
                raise
            await asyncio.sleep(0.02)
        else:
            return time.monotonic() - start_s
