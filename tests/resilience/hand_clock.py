"""A clock that tests move by hand, and that moves by itself when slept on."""

from __future__ import annotations


class HandClock:
    def __init__(self, at_s: float = 1000.0) -> None:
        self.at_s = at_s

    def monotonic_s(self) -> float:
        return self.at_s

    def now_s(self) -> float:
        return 1_790_000_000.0 + self.at_s

    async def sleep(self, delay_s: float) -> None:
        self.at_s += delay_s

    def advance(self, seconds_s: float) -> None:
        self.at_s += seconds_s
