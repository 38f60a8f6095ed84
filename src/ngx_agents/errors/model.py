"""Errors of the model, and of agents and tool servers elsewhere."""

from __future__ import annotations

from typing import Literal

from ngx_agents.errors.base import NgxError


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
