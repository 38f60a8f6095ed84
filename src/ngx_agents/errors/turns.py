"""Errors of the journal, and of turns that end without an answer."""

from __future__ import annotations

from ngx_agents.errors.base import NgxError


class JournalError(NgxError):
    code = "journal"


class JournalTooNew(JournalError):
    code = "journal_too_new"

    def __init__(self, *, found: int, supported: int) -> None:
        super().__init__(f"the journal has schema version {found}; this program knows {supported}: upgrade it")
        self.found = found
        self.supported = supported


class JournalLocked(JournalError):
    code = "journal_locked"


class StateCorrupt(JournalError):
    code = "state_corrupt"


class ShardMoved(JournalError):
    code = "shard_moved"
    retryable = True


class LeaseLost(JournalError):
    code = "lease_lost"


class TurnError(NgxError):
    code = "turn_failed"


class DeadlineExceeded(TurnError):
    code = "deadline_exceeded"
    retryable = True


class TurnCancelled(TurnError):
    code = "cancelled"
