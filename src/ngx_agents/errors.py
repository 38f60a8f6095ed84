"""Every error a caller of NGX Agents can meet, as one tree.

NgxError
├── ConfigError                     the configuration cannot be used; the message names the setting
├── RequestError                    the caller must change the request
│   ├── InvalidRequest              malformed or out of bounds; `field` says where
│   ├── Unauthenticated             no credentials, or none that verify
│   ├── Forbidden                   the role does not allow it
│   ├── NotFound                    absent, or not the caller's: the two look the same
│   ├── BodyTooLarge                over `limit_bytes`
│   ├── HeadersTooLarge             over `limit_bytes`
│   ├── TooSlow                     headers or body did not come in time
│   ├── UnsupportedMediaType        the body is not JSON
│   ├── MethodNotAllowed            the path is known, the method is not; `allowed` lists those that are
│   ├── ConversationBusy            a turn is running and `when_busy` is `reject`; carries `turn_id`
│   ├── StorageFull                 all that one user may keep is used: something must go first; `limit_bytes`
│   ├── StateTooLarge               a conversation's state is over `limit_bytes`; the former one stands
│   ├── StateConflict               the state was saved by someone else since it was read; carries both versions
│   ├── ConsentRequired             the user has not agreed to what this would store; `kind` says to what
│   ├── RateLimited                 a limit of the plan is used up: `quota` says which; carries `retry_after_s`
│   │   └── BudgetSpent             a budget that blocks is spent: no turn begins until its period ends
│   ├── IdempotencyConflict         the key was used with another body
│   └── TurnFinished                the turn has ended and cannot be cancelled
├── Unavailable                     later, or elsewhere, it will work; carries `retry_after_s`
│   ├── Overloaded                  a bound was reached
│   ├── QuotaExceeded               the caller has as many of these at once as they may have
│   ├── ShareExceeded               the tenant's share is used up, not the server
│   ├── ReadOnly                    history is served, new turns are not
│   ├── Draining                    the server is stopping
│   ├── JournalUnavailable          the journal cannot be reached or written
│   ├── ObjectsUnavailable          the store of attachments cannot be reached, or refuses this server
│   └── SharedUnavailable           what instances share (Redis) cannot be reached in time; do without
├── SharedRefused                   too large or out of bounds to be shared: do without; `field` says what
├── JournalError                    the journal refuses for good
│   ├── JournalTooNew               written by a newer program; carries both versions
│   ├── JournalLocked               another server process has it open
│   ├── StateCorrupt                stored bytes that cannot be read
│   ├── ShardMoved                  the shard takes no writes on this server: ask where it is now
│   └── LeaseLost                   the lane was granted to someone else: stop, write nothing
├── TurnError                       a turn ended without an answer
│   ├── DeadlineExceeded
│   └── TurnCancelled
├── ModelError                      the model did not answer
│   ├── ModelAuthError              credentials missing, expired or refused
│   ├── ModelRequestError           the model refuses this request; no retry can help
│   ├── ModelNotFound               the model is unknown or absent in this location
│   ├── ModelThrottled              429; shared capacity or quota
│   ├── ModelUnavailable            5xx, refused, reset, or not reachable
│   ├── ModelTimeout                no answer in time
│   ├── SpendingStopped             a budget is spent, or an operator stopped it: `by` says which
│   ├── ModelBlocked                a safety filter blocked the prompt or the answer
│   └── ModelProtocolError          the answer cannot be understood
└── RemoteError                     an agent or tool server elsewhere did not do its part
    ├── RemoteUnavailable           not reachable, failing, or left alone for now; carries `retry_after_s`
    ├── RemoteTimeout               no answer in time
    ├── RemoteRefused               it refuses this request or these credentials; no retry can help
    └── RemoteProtocolError         what it sends cannot be understood, is too large, or leads elsewhere

`code` is stable and what clients and logs see; `retryable` says whether the same call may succeed later.
"""

from __future__ import annotations

from typing import ClassVar, Literal


class NgxError(Exception):
    """Root of all. `str(error)` may be shown to the caller: it never holds foreign text or secrets."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False
    first_aid: str | None = None
    """What a person must read although their message was refused; set where the message is known."""

    @property
    def words(self) -> str:
        """The text of the error, after what must be read first."""
        return str(self) if self.first_aid is None else f"{self.first_aid}\n\n{self}"


class ConfigError(NgxError):
    code = "config"


class RequestError(NgxError):
    code = "invalid_request"


class InvalidRequest(RequestError):
    """`field` is the JSON path or header at fault, when one is."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(RequestError):
    """`is_guess`: nobody who gave these credentials out has made them."""

    code = "unauthenticated"

    def __init__(self, message: str, *, is_guess: bool = False) -> None:
        super().__init__(message)
        self.is_guess = is_guess


class Forbidden(RequestError):
    code = "forbidden"


class NotFound(RequestError):
    code = "not_found"


class BodyTooLarge(RequestError):
    code = "body_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class HeadersTooLarge(RequestError):
    code = "headers_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the headers are larger than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class TooSlow(RequestError):
    code = "too_slow"
    retryable = True


class UnsupportedMediaType(RequestError):
    code = "unsupported_media_type"


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(f"this path answers {', '.join(allowed)}")
        self.allowed = allowed


class ConversationBusy(RequestError):
    code = "conversation_busy"
    retryable = True

    def __init__(self, turn_id: str) -> None:
        super().__init__("a turn of this conversation is running")
        self.turn_id = turn_id


class StateTooLarge(RequestError):
    code = "state_too_large"

    def __init__(self, *, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(f"the state has {size_bytes} bytes, {limit_bytes} are allowed")
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class StorageFull(RequestError):
    code = "storage_full"

    def __init__(self, *, limit_bytes: int) -> None:
        super().__init__(f"everything stored together may have {limit_bytes} bytes: delete something first")
        self.limit_bytes = limit_bytes


class StateConflict(RequestError):
    """Load again, apply the change again, save again."""

    code = "state_conflict"

    def __init__(self, *, expected: int, found: int) -> None:
        super().__init__(f"the state has version {found}, not {expected}: load it again")
        self.expected = expected
        self.found = found


class ConsentRequired(RequestError):
    code = "consent_required"

    def __init__(self, kind: str) -> None:
        super().__init__(f"this needs the user's consent to {kind}")
        self.kind = kind


class RateLimited(RequestError):
    """`quota` names the limit. `told` are the header fields that say how the limits stand; `retry_after_s` is None when
    waiting alone does not help."""

    code = "rate_limited"
    retryable = True

    def __init__(
        self, message: str, *, quota: str, retry_after_s: float | None, told: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.quota = quota
        self.retry_after_s = retry_after_s
        self.told = told


class BudgetSpent(RateLimited):
    """Refused at the entrance: `whose` is tenant, user, agent or conversation; `by` names the budget, for operators."""

    code = "budget_spent"

    def __init__(self, whose: str, *, by: str, retry_after_s: float | None) -> None:
        super().__init__(f"the budget of this {whose} is spent", quota="budget", retry_after_s=retry_after_s)
        self.by = by


class IdempotencyConflict(RequestError):
    code = "idempotency_conflict"


class TurnFinished(RequestError):
    code = "turn_finished"


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


class ModelError(NgxError):
    """`status` is the HTTP status the model answered with, if it answered."""

    code = "model_error"

    def __init__(self, message: str, *, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class ModelAuthError(ModelError):
    code = "model_auth"


class ModelRequestError(ModelError):
    code = "model_request"


class ModelNotFound(ModelError):
    code = "model_not_found"


ThrottleKind = Literal["shared", "provisioned", "quota"]


class ModelThrottled(ModelError):
    """`kind` says what is used up: capacity shared with others, capacity that was bought, or a quota per minute."""

    code = "model_throttled"
    retryable = True

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_s: float | None = None,
        kind: ThrottleKind = "shared",
    ) -> None:
        super().__init__(message, status=status, retry_after_s=retry_after_s)
        self.kind = kind


class ModelUnavailable(ModelError):
    code = "model_unavailable"
    retryable = True


class ModelTimeout(ModelError):
    code = "model_timeout"
    retryable = True


class SpendingStopped(ModelError):
    """`by` names the budget or the stop."""

    code = "spending_stopped"

    def __init__(self, message: str, *, by: str, retry_after_s: float | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.by = by


class ModelBlocked(ModelError):
    code = "model_blocked"


class ModelProtocolError(ModelError):
    code = "model_protocol"
    retryable = True


class RemoteError(NgxError):
    """Its text never holds what the other side said: that is foreign."""

    code = "remote_error"


class RemoteUnavailable(RemoteError):
    code = "remote_unavailable"
    retryable = True

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RemoteTimeout(RemoteError):
    code = "remote_timeout"
    retryable = True


class RemoteRefused(RemoteError):
    code = "remote_refused"


class RemoteProtocolError(RemoteError):
    code = "remote_protocol"
