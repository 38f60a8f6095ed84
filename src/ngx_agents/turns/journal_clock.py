"""The time that instances of one journal share: the journal's own, where it has one, told on by the monotonic clock.

Deadlines are written by one instance and read by another, so they are in this time, whatever the machines' clocks say
and however they jump. A journal of one process has no time of its own: then it is the machine's. The lease, which
talks to the journal every few seconds anyway, asks for it.
"""

from __future__ import annotations

import asyncio

from ngx_agents.clock import Clock
from ngx_agents.errors import NgxError
from ngx_agents.state.commands import GetTime
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log

log = event_log("turns")
MAX_TRIP_S = 1.0
"""An answer that takes longer says too little, and the heartbeat is not to wait for it."""
SKEW_S = 5.0


class JournalClock:
    """Implements `clock.Clock` over another one; `listen` corrects it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_s: float | None = None
        self._is_skewed = False
        self.monotonic_s = clock.monotonic_s

    def now_s(self) -> float:
        return self._clock.now_s() if self._began_s is None else self._began_s + self._clock.monotonic_s()

    async def sleep(self, delay_s: float) -> None:
        await self._clock.sleep(delay_s)

    async def listen(self, journal: Journal) -> None:
        """Asks the journal what time it is. What does not answer in time changes nothing."""
        asked_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(MAX_TRIP_S):
                told_s: float | None = await journal.query(GetTime())
        except (NgxError, TimeoutError):
            return
        heard_s = self._clock.monotonic_s()
        if told_s is None:
            return
        self._began_s = told_s - (asked_s + heard_s) / 2
        skew_s = self._clock.now_s() - self.now_s()
        is_skewed = abs(skew_s) > SKEW_S
        if is_skewed and not self._is_skewed:
            log.warning("clock.skewed", ahead_s=round(skew_s, 1))
        self._is_skewed = is_skewed
