"""How an error looks on the wire: RFC 9457 problem details, and the table from error class to HTTP status.

The most specific class of the table wins; a test proves that every NgxError class stands in it.
"""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from ngx_agents import errors
from ngx_agents.errors import NgxError

MEDIA_TYPE = b"application/problem+json"

STATUS: dict[type[NgxError], int] = {
    NgxError: 500,
    errors.ConfigError: 500,
    errors.RequestError: 400,
    errors.InvalidRequest: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.BodyTooLarge: 413,
    errors.UnsupportedMediaType: 415,
    errors.HeadersTooLarge: 431,
    errors.TooSlow: 408,
    errors.MethodNotAllowed: 405,
    errors.ConversationBusy: 409,
    errors.RateLimited: 429,
    errors.BudgetSpent: 429,
    errors.IdempotencyConflict: 409,
    errors.StorageFull: 413,
    errors.StateTooLarge: 413,
    errors.StateConflict: 409,
    errors.ConsentRequired: 403,
    errors.TurnFinished: 409,
    errors.Unavailable: 503,
    errors.Overloaded: 503,
    errors.ShareExceeded: 429,
    errors.ReadOnly: 503,
    errors.QuotaExceeded: 429,
    errors.Draining: 503,
    errors.JournalUnavailable: 503,
    errors.ObjectsUnavailable: 503,
    errors.SharedUnavailable: 503,
    errors.SharedRefused: 500,
    errors.JournalError: 500,
    errors.JournalTooNew: 500,
    errors.StateCorrupt: 500,
    errors.JournalLocked: 500,
    errors.LeaseLost: 500,
    errors.ShardMoved: 503,
    errors.TurnError: 500,
    errors.DeadlineExceeded: 504,
    errors.TurnCancelled: 409,
    errors.ModelError: 502,
    errors.ModelAuthError: 502,
    errors.ModelRequestError: 502,
    errors.ModelNotFound: 502,
    errors.ModelThrottled: 503,
    errors.ModelUnavailable: 503,
    errors.ModelTimeout: 504,
    errors.SpendingStopped: 429,
    errors.ModelBlocked: 422,
    errors.ModelProtocolError: 502,
    errors.RemoteError: 502,
    errors.RemoteUnavailable: 503,
    errors.RemoteTimeout: 504,
    errors.RemoteRefused: 502,
    errors.RemoteProtocolError: 502,
}
_STATUS_OF_CODE = {error.code: status for error, status in STATUS.items()}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error. `code` is stable; `field` names the JSON path or header at fault, `turn_id` the turn in the way.

    `first_aid` is for the person who wrote: whom to call, when the message that was refused tells of an emergency.
    """

    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None
    turn_id: str | None = None
    retry_after_s: float | None = None
    first_aid: str | None = None


def status_of(error: NgxError) -> int:
    for cls in type(error).__mro__:
        if cls in STATUS:
            return STATUS[cls]
    return 500


def status_of_code(code: str | None) -> int:
    """The status of a failed turn's `code`; 500 for a code that no error class has."""
    return _STATUS_OF_CODE.get(code or "", 500)


def problem_of(error: NgxError, request_id: str) -> Problem:
    status = status_of(error)
    return Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        code=error.code,
        detail=str(error),
        request_id=request_id,
        field=getattr(error, "field", None),
        turn_id=getattr(error, "turn_id", None),
        retry_after_s=getattr(error, "retry_after_s", None),
        first_aid=error.first_aid,
    )


def headers_of(error: NgxError) -> list[tuple[bytes, bytes]]:
    """What belongs into the headers of an error's answer. `Retry-After` is in whole seconds, rounded up, at least 1."""
    headers = []
    retry_after_s = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        headers.append((b"retry-after", str(max(1, -int(-retry_after_s // 1))).encode()))
    if isinstance(error, errors.RateLimited):
        headers.extend(error.told)
    if isinstance(error, errors.Unauthenticated):
        headers.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, errors.MethodNotAllowed):
        headers.append((b"allow", ", ".join(error.allowed).encode()))
    return headers


def whole_answer(error: NgxError, request_id: str) -> bytes:
    """The answer to what never became a request: all that goes over an HTTP/1.1 connection, which ends with it."""
    problem = problem_of(error, request_id)
    body = msgspec.json.encode(problem)
    headers = [
        (b"content-type", MEDIA_TYPE),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-request-id", request_id.encode()),
        *headers_of(error),
    ]
    lines = [f"HTTP/1.1 {problem.status} {problem.title}".encode(), *(b"%b: %b" % header for header in headers)]
    return b"\r\n".join([*lines, b"", body])
