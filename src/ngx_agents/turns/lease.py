"""This instance's heartbeat in the journal: what lets it hold lanes, and tells others that they may take them.

It beats before the first lane is taken, then every `beat_every_s`. Without a beat that the journal confirmed within
the lease (less a margin for the way there and back) it takes no lanes; what runs goes on, and the epoch in the row
that is written decides whether it still counts. Time here is monotonic, the journal counts its own: a clock that jumps
moves no lease. Producer: the task of `keep`; consumer: `Lanes`.
"""

from __future__ import annotations

from ngx_agents.errors import NgxError
from ngx_agents.state.commands import Beat, Leave
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.journal_clock import JournalClock
from ngx_agents.turns.settings import TurnSettings

log = event_log("turns")


class Lease:
    """`instance` is this incarnation's name; the settings say how often it beats, and where others reach it."""

    def __init__(
        self, journal: Journal, *, instance: str, settings: TurnSettings, clock: JournalClock, metrics: Metrics
    ) -> None:
        self.instance = instance
        self._journal = journal
        self._beat = Beat(instance=instance, address=settings.address, lease_s=settings.lease_s)
        self._held_s = settings.lease_s - settings.beat_every_s / 2
        self._every_s = settings.beat_every_s
        self._clock = clock
        self._until_s = 0.0
        self._lost = metrics.counter("ngx_leases_lost_total", "Heartbeats that came too late to keep lanes.").labels()

    @property
    def is_held(self) -> bool:
        return self._clock.monotonic_s() < self._until_s

    async def take(self) -> None:
        """The first beat. Raises JournalUnavailable."""
        await self._tell()

    async def keep(self) -> None:
        """Beats until cancelled."""
        while True:
            await self._clock.sleep(self._every_s)
            try:
                if not await self._tell():
                    self._lost.inc()
                    log.error("lease.lost", instance=self.instance)
            except NgxError as error:
                log.warning("lease.not_renewed", instance=self.instance, code=error.code)

    async def leave(self) -> None:
        """Gives all lanes free at once; if the journal is away, they are free when the lease has run out."""
        self._until_s = 0.0
        try:
            await self._journal.transact([Leave(instance=self.instance)])
        except NgxError as error:
            log.warning("lease.not_left", instance=self.instance, code=error.code)

    async def _tell(self) -> bool:
        """Whether the beat before this one was still valid; counted from before the journal was asked."""
        asked_s = self._clock.monotonic_s()
        [result] = await self._journal.transact([self._beat])
        if isinstance(result, BaseException):
            raise result
        was_held: bool = result
        self._until_s = asked_s + self._held_s
        await self._clock.listen(self._journal)
        return was_held
