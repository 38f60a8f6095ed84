"""Letting go of what has had its time: one elected instance sweeps the journal, every one its own memory.

The sweeper is elected for one and a half intervals and elected again while it lives; when it dies, another takes over
after that. Batches are small and apart, so that turns pass between them. What cannot be swept now is swept next time.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.state.journal import Journal
from ngx_agents.state.state_commands import IDEMPOTENCY_KEPT_S, Expire, ExpiryKind, TryElect
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

BATCH = 200
PAUSE_S = 0.05
ELECTION = "sweeper"
log = event_log("state")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept, in seconds. `conversations_s` counts from the last change; None keeps them for good."""

    idempotency_s: float = IDEMPOTENCY_KEPT_S
    turns_s: float = 7 * 86_400.0
    conversations_s: float | None = None
    batches_s: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if self.idempotency_s < IDEMPOTENCY_KEPT_S:
            raise ConfigError("idempotency keys are kept for a day at least")
        if self.batches_s < IDEMPOTENCY_KEPT_S:
            raise ConfigError("batches are kept for a day at least")
        if self.turns_s < 0 or (self.conversations_s is not None and self.conversations_s < 0):
            raise ConfigError("a retention is not below 0")


class Sweeper:
    """`run` goes on until it is cancelled."""

    def __init__(
        self,
        journal: Journal,
        clock: Clock,
        *,
        instance: str,
        interval_s: float,
        retention: Retention,
        metrics: Metrics,
    ) -> None:
        if interval_s <= 0:
            raise ConfigError("cleanup_interval is above 0")
        self._journal = journal
        self._clock = clock
        self._instance = instance
        self._interval_s = interval_s
        self._retention = retention
        self._expired = metrics.counter("ngx_state_expired_total", "What a sweep let go of.", "kind")

    async def run(self, sweep_memory: Callable[[bool], int]) -> None:
        """`sweep_memory` is this instance's own part: told whether conversations went, it says how many copies did."""
        while True:
            await self._clock.sleep(self._interval_s)
            self._expired.labels("memory").inc(sweep_memory(False))
            try:
                gone = await self.sweep()
                if gone.get("conversations"):
                    sweep_memory(True)
            except NgxError as error:
                log.warning("sweep.failed", code=error.code)

    async def sweep(self) -> dict[ExpiryKind, int]:
        """Sweeps the journal if this instance is the elected one; what went, by kind. Raises what the journal does."""
        lease_s = 1.5 * self._interval_s
        elected = await self._told(TryElect(name=ELECTION, instance=self._instance, lease_s=lease_s))
        if not elected:
            return {}
        return {kind: await self._expire(kind, kept_s) for kind, kept_s in self._kept()}

    def _kept(self) -> list[tuple[ExpiryKind, float]]:
        kept: list[tuple[ExpiryKind, float]] = [
            ("idempotency", self._retention.idempotency_s),
            ("turns", self._retention.turns_s),
            ("batches", self._retention.batches_s),
        ]
        if self._retention.conversations_s is not None:
            kept.append(("conversations", self._retention.conversations_s))
        return kept

    async def _expire(self, kind: ExpiryKind, kept_s: float) -> int:
        now = self._clock.now_s()
        gone = 0
        while True:
            count = await self._told(Expire(kind=kind, before=now - kept_s, now=now, limit=BATCH))
            gone += count
            self._expired.labels(kind).inc(count)
            if count < BATCH:
                return gone
            await self._clock.sleep(PAUSE_S)

    async def _told(self, command: Expire | TryElect) -> int:
        [result] = await self._journal.transact([command])
        if isinstance(result, BaseException):
            raise result
        return int(result)
