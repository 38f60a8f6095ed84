"""Letting go of what has had its time: one elected instance sweeps the journal, every one its own memory.

The sweeper is elected for one and a half intervals and elected again while it lives; when it dies, another takes over
after that. Batches are small and apart, so that turns pass between them. What cannot be swept now is swept next time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import LogKind
from ngx_agents.state.state_commands import IDEMPOTENCY_KEPT_S, Expire, ExpiryKind, TryElect
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

BATCH = 200
PAUSE_S = 0.05
ELECTION = "sweeper"
Expiring = tuple[ExpiryKind, LogKind | None]
log = event_log("state")


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long things are kept, in seconds; None keeps them for good.

    `conversations_s` counts from the last change, `logs_s` (by kind) from the time an entry is about, `outbox_s` (of
    what webhooks did not take) from its event, the others from when it came. Messages go as questions with their
    answers, out of conversations that go on.
    """

    idempotency_s: float = IDEMPOTENCY_KEPT_S
    turns_s: float = 7 * 86_400.0
    conversations_s: float | None = None
    batches_s: float = 30 * 86_400.0
    messages_s: float | None = None
    artifacts_s: float | None = None
    attachments_s: float | None = None
    logs_s: dict[LogKind, float] = {}
    audit_s: float | None = None
    outbox_s: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if self.idempotency_s < IDEMPOTENCY_KEPT_S:
            raise ConfigError("idempotency keys are kept for a day at least")
        if self.batches_s < IDEMPOTENCY_KEPT_S:
            raise ConfigError("batches are kept for a day at least")
        if self.messages_s is not None and self.messages_s < IDEMPOTENCY_KEPT_S:
            raise ConfigError("messages are kept for a day at least")
        if any(kept_s < 0 for _, kept_s in self.limits):
            raise ConfigError("a retention is not below 0")

    @property
    def limits(self) -> list[tuple[Expiring, float]]:
        """What is let go of, and after how many seconds."""
        kinds: list[tuple[Expiring, float | None]] = [
            (("idempotency", None), self.idempotency_s),
            (("turns", None), self.turns_s),
            (("batches", None), self.batches_s),
            (("conversations", None), self.conversations_s),
            (("messages", None), self.messages_s),
            (("artifacts", None), self.artifacts_s),
            (("attachments", None), self.attachments_s),
            (("audit", None), self.audit_s),
            (("outbox", None), self.outbox_s),
            *((("logs", kind), kept_s) for kind, kept_s in self.logs_s.items()),
        ]
        return [(expiring, kept_s) for expiring, kept_s in kinds if kept_s is not None]


class Sweeper:
    """`run` goes on until it is cancelled. `orphans` sweeps what no row of the journal names any more."""

    def __init__(  # noqa: PLR0913  # its surroundings, all by name
        self,
        journal: Journal,
        clock: Clock,
        *,
        instance: str,
        interval_s: float,
        retention: Retention,
        metrics: Metrics,
        orphans: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        if interval_s <= 0:
            raise ConfigError("cleanup_interval is above 0")
        self._journal = journal
        self._clock = clock
        self._instance = instance
        self._interval_s = interval_s
        self._retention = retention
        self._orphans = orphans
        self._expired = metrics.counter("ngx_state_expired_total", "What a sweep let go of.", "kind")

    async def run(self, sweep_memory: Callable[[bool], int]) -> None:
        """`sweep_memory` is this instance's own part: told whether messages went, it says how many copies did."""
        while True:
            await self._clock.sleep(self._interval_s)
            self._expired.labels("memory").inc(sweep_memory(False))
            try:
                gone = await self.sweep()
                if gone.get("conversations") or gone.get("messages"):
                    sweep_memory(True)
            except NgxError as error:
                log.warning("sweep.failed", code=error.code)

    async def sweep(self) -> dict[str, int]:
        """Sweeps the journal if this instance is the elected one; what went, by kind (`logs_weight`, …).

        Raises what the journal does.
        """
        lease_s = 1.5 * self._interval_s
        elected = await self._told(TryElect(name=ELECTION, instance=self._instance, lease_s=lease_s))
        if not elected:
            return {}
        gone = {_name(*one): await self._expire(one, kept_s) for one, kept_s in self._retention.limits}
        if self._orphans is not None:
            gone["objects"] = await self._orphans()
            self._expired.labels("objects").inc(gone["objects"])
        return gone

    async def _expire(self, expiring: Expiring, kept_s: float) -> int:
        now, (kind, log_kind) = self._clock.now_s(), expiring
        gone = 0
        while True:
            before = now - kept_s
            count = await self._told(Expire(kind=kind, before=before, now=now, limit=BATCH, log_kind=log_kind))
            gone += count
            self._expired.labels(_name(kind, log_kind)).inc(count)
            if count < BATCH:
                return gone
            await self._clock.sleep(PAUSE_S)

    async def _told(self, command: Expire | TryElect) -> int:
        [result] = await self._journal.transact([command])
        if isinstance(result, BaseException):
            raise result
        return int(result)


def _name(kind: ExpiryKind, log_kind: LogKind | None) -> str:
    return kind if log_kind is None else f"{kind}_{log_kind}"
