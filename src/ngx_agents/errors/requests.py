"""Errors of requests: the caller must change something."""

from __future__ import annotations

from ngx_agents.errors.base import NgxError


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
