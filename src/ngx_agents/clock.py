"""The only sources of time and chance.

Everything else takes a `Clock` and an `Rng` as arguments, so that a test can replay it from a seed.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    """Time. `monotonic_s` never goes back and is for durations and deadlines; `now_s` is for people."""

    def monotonic_s(self) -> float: ...

    def now_s(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    async def sleep(self, delay_s: float) -> None: ...


class SystemClock:
    """The machine's own time."""

    monotonic_s = staticmethod(time.monotonic)
    now_s = staticmethod(time.time)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


class Rng:
    """Chance. Seeded it repeats itself; unseeded it draws from the system. Not for secrets: those use `secrets`."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)

    def uniform(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def random(self) -> float:
        """A float in [0, 1)."""
        return self._random.random()

    def bits(self, count: int) -> int:
        return self._random.getrandbits(count)

    def gauss(self, mean: float, deviation: float) -> float:
        return self._random.gauss(mean, deviation)
