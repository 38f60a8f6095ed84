"""CPU of this process for something done many times, in several rounds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from benchmarks.report import Line


class Rounds:
    """`rounds` times the CPU of doing something `times` times; what is done is handed a growing number."""

    def __init__(self, rounds: int, times: int) -> None:
        self.rounds = rounds
        self._times = times

    async def one_by_one(self, what: str, do: Callable[[int], Awaitable[None]], budget: float | None = None) -> Line:
        async def each() -> None:
            for number in range(self._times):
                await do(number)

        return await self._line(what, each, budget)

    async def at_once(
        self, what: str, do: Callable[[int], Awaitable[None]], budget: float | None = None, *, width: int = 64
    ) -> Line:
        async def all_of_them() -> None:
            for first in range(0, self._times, width):
                await asyncio.gather(*(do(number) for number in range(first, first + width)))

        return await self._line(f"{what}, {width} at once", all_of_them, budget)

    async def _line(self, what: str, do: Callable[[], Awaitable[None]], budget: float | None) -> Line:
        found = []
        for _ in range(self.rounds):
            began_s = time.process_time()
            await do()
            found.append((time.process_time() - began_s) / self._times * 1e6)
        note = f"{min(found):.1f} to {max(found):.1f}"
        return Line(what=what, measured=median(found), unit="µs", budget=budget, note=note)
