"""A clock that a test moves: sleepers wake when enough has passed, and not before."""

from __future__ import annotations

import asyncio


class ManualClock:
    """Starts at a fixed time. `pass_s` moves it and wakes who is due."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._waiting: list[tuple[float, asyncio.Event]] = []

    def monotonic_s(self) -> float:
        return self._now_s

    def now_s(self) -> float:
        return 1_800_000_000.0 + self._now_s

    async def sleep(self, delay_s: float) -> None:
        event = asyncio.Event()
        entry = (self._now_s + delay_s, event)
        self._waiting.append(entry)
        try:
            await event.wait()
        finally:
            self._waiting.remove(entry)

    def pass_s(self, seconds: float) -> None:
        self._now_s += seconds
        for due_s, event in self._waiting:
            if due_s <= self._now_s:
                event.set()

    async def sleepers(self, count: int) -> None:
        """Waits until so many sleep and none of them is due."""
        async with asyncio.timeout(5):
            while not self._are_asleep(count):  # noqa: ASYNC110  # what it waits for happens in other threads too
                await asyncio.sleep(0.001)

    def _are_asleep(self, count: int) -> bool:
        return len(self._waiting) == count and all(due_s > self._now_s for due_s, _ in self._waiting)
