"""Errors that time mends: what is asked for works later, or elsewhere, or is done without."""

from __future__ import annotations

from ngx_agents.errors.base import NgxError


class Unavailable(NgxError):
    code = "unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(Unavailable):
    code = "overloaded"


class ShareExceeded(Unavailable):
    code = "share_exceeded"


class ReadOnly(Unavailable):
    code = "read_only"


class QuotaExceeded(Unavailable):
    code = "quota_exceeded"


class Draining(Unavailable):
    code = "draining"


class JournalUnavailable(Unavailable):
    code = "journal_unavailable"


class ObjectsUnavailable(Unavailable):
    code = "objects_unavailable"


class SharedUnavailable(Unavailable):
    code = "shared_unavailable"


class SharedRefused(NgxError):
    code = "shared_refused"

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field
