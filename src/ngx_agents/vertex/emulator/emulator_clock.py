"""The emulator's time: the machine's, which a control order can advance, so that caches and tokens expire at once."""

from __future__ import annotations

from ngx_agents.clock import Clock


class EmulatorClock:
    """`base` plus what was added. Sleeping takes the machine's time."""

    def __init__(self, base: Clock) -> None:
        self._base = base
        self.ahead_s = 0.0

    def monotonic_s(self) -> float:
        return self._base.monotonic_s() + self.ahead_s

    def now_s(self) -> float:
        return self._base.now_s() + self.ahead_s

    async def sleep(self, delay_s: float) -> None:
        await self._base.sleep(delay_s)
