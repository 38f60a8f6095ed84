"""One replica: how far it has replayed, whether it may be asked, and what it cost when it failed.

Whoever needs a position waits for it here, all together: one task asks the replica while somebody waits, and gives up
with the last of them. One that missed a position is not waited for again until `watch` has seen it reach that; one that
fails is left out by its breaker and tried again by itself. Positions are trusted of a standby of the same system only:
a promoted one has a log of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ConfigError, JournalError, JournalUnavailable
from ngx_agents.resilience.breaker import Breaker, BreakerRules
from ngx_agents.state.commands import GetPosition, Position, Question
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log

log = event_log("state")
RULES = BreakerRules(min_calls=3, window_s=10.0, open_s=2.0, max_open_s=15.0, probes=1)
POLL_S = 0.004
CALL_S = 2.0
_FAILURES = (JournalUnavailable, JournalError, ConfigError, TimeoutError)


class Standby:
    """`make` gives a new journal of the replica; `system` tells the primary's, once that is known."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Journal],
        *,
        clock: Clock,
        rng: Rng,
        system: Callable[[], int | None] = lambda: None,
    ) -> None:
        self.name = name
        self.place = 0
        self._journal = LateJournal(make, name=name, clock=clock, is_needed=False)
        self._clock = clock
        self._breaker = Breaker(RULES, clock=clock, rng=rng, on_change=self._told)
        self._missed = 0
        self._system = system
        self._refusal = ""
        self._waiting: list[tuple[int, asyncio.Future[bool]]] = []
        self._poller: asyncio.Task[None] | None = None
        self._tasks: asyncio.TaskGroup | None = None

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        await self._journal.open()

    async def stop(self) -> None:
        if self._poller is not None:
            self._poller.cancel()
        for _, future in self._waiting:
            future.cancel()
        await self._journal.close()

    @property
    def is_in_use(self) -> bool:
        return self._journal.is_open and not self._refusal and self._breaker.state in ("closed", "half_open")

    @property
    def is_behind(self) -> bool:
        """Whether it has not reached yet what it was last waited for in vain."""
        return self.place < self._missed

    async def reached(self, place: int, *, within_s: float) -> bool:
        """Whether it has replayed that position, now or within the time."""
        if not self.is_in_use or self._tasks is None:
            return False
        if self.place >= place:
            return True
        if self.is_behind:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((place, future))
        if self._poller is None or self._poller.done():
            self._poller = self._tasks.create_task(self._poll())
        try:
            async with asyncio.timeout(within_s):
                return await future
        except TimeoutError:
            self._missed = max(self._missed, place)
            return False

    async def watch(self) -> None:
        """Looks where it is, also when nobody asks: how one that failed or fell behind comes back."""
        if self._journal.is_open:
            await self._look()

    async def query(self, question: Question) -> Any:
        """Raises what the journal raises; JournalUnavailable also while it is left out."""
        if self._refusal:
            raise JournalUnavailable("the replica is refused", retry_after_s=1.0)
        return await self._call(question)

    async def _call(self, question: Question) -> Any:
        ticket = self._breaker.admit()
        if ticket is None:
            raise JournalUnavailable("the replica is left out", retry_after_s=1.0)
        try:
            answer = await self._journal.query(question)
        except _FAILURES:
            ticket.failed()
            raise
        except BaseException:
            ticket.ignored()
            raise
        ticket.succeeded()
        return answer

    async def _poll(self) -> None:
        while self._waiting:
            is_known = await self._look()
            left = []
            for place, future in self._waiting:
                if future.done():
                    continue
                if self.place >= place or not is_known:
                    future.set_result(self.place >= place)
                else:
                    left.append((place, future))
            self._waiting = left
            if left:
                await self._clock.sleep(POLL_S)

    async def _look(self) -> bool:
        """Whether the position could be asked for; it is then in `place`."""
        try:
            async with asyncio.timeout(CALL_S):
                found: Position = await self._call(GetPosition())
        except _FAILURES:
            return False
        return self._is_ours(found)

    def _is_ours(self, found: Position) -> bool:
        refusal = ""
        if not found.is_standby:
            refusal = "it is no standby: promoted, or not a replica at all"
        elif self._system() not in (None, found.system):
            refusal = "it follows another database"
        if refusal != self._refusal:
            log.warning("journal.replica_refused", replica=self.name, reason=refusal or "none any more")
        self._refusal = refusal
        if not refusal:
            self.place = max(self.place, found.place)
        return not refusal

    def _told(self, state: str, reason: str) -> None:
        log.warning("journal.replica", replica=self.name, state=state, reason=reason)
