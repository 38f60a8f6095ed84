"""One table: what a model's server answers, and which error that is for the caller.

Foreign text never gets into `str(error)`: prompts and keys may be quoted in it.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from math import isfinite

import msgspec

from ngx_agents.errors import (
    ModelAuthError,
    ModelError,
    ModelNotFound,
    ModelProtocolError,
    ModelRequestError,
    ModelThrottled,
    ModelUnavailable,
    ThrottleKind,
)
from ngx_agents.vertex.dialects.error_wire import ErrorBody, ErrorReply

BY_STATUS: dict[int, tuple[type[ModelError], str]] = {
    400: (ModelRequestError, "the model refused the request"),
    401: (ModelAuthError, "the model refused the credentials"),
    403: (ModelAuthError, "the credentials do not allow calling this model"),
    404: (ModelNotFound, "the model is unknown or absent in this location"),
    408: (ModelUnavailable, "the model's server gave up waiting"),
    413: (ModelRequestError, "the request is too large for the model"),
    429: (ModelThrottled, "the model's capacity or quota is exhausted"),
    499: (ModelUnavailable, "the model's server cancelled the call"),
    500: (ModelUnavailable, "the model's server failed"),
    502: (ModelUnavailable, "the model's server could not be reached"),
    503: (ModelUnavailable, "the model is overloaded or unavailable"),
    504: (ModelUnavailable, "the model's server ran out of time"),
}
# for errors inside a stream that carry a word instead of a number
BY_WORD: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
}
# what a 429 says is used up: the first text found in its message; without any it is the shared pool
BY_TEXT: tuple[tuple[bytes, ThrottleKind], ...] = (
    (b"provisioned throughput", "provisioned"),
    (b"quota exceeded", "quota"),
    (b"exceeded your current quota", "quota"),
)
KEY_INVALID = "API_KEY_INVALID"  # comes as 400
_decode = msgspec.json.Decoder(ErrorReply).decode
_decode_list = msgspec.json.Decoder(list[ErrorReply]).decode


def error_of_status(status: int, body: bytes, *, retry_after: str | None, now_s: float) -> ModelError:
    """The error that an HTTP answer other than 200 means. `retry_after` is the header, seconds or a date."""
    found = _read(body)
    if found is None and _is_page(body) and status not in BY_STATUS.keys() - {404} and status < 500:
        return ModelProtocolError(
            "the endpoint answered with a web page: the location or the base URL is wrong", status=status
        )
    retry_after_s = _seconds(retry_after, now_s)
    return _error(status, found or ErrorBody(), retry_after_s)


def error_in_stream(body: ErrorBody) -> ModelError:
    """The error that an error object inside a 200 answer means."""
    for word in (body.code, body.status, body.type):
        if isinstance(word, int):
            return _error(word, body, None)
        if word in BY_WORD:
            return _error(BY_WORD[word], body, None)
    return ModelUnavailable("the model failed while answering")


def _error(status: int, body: ErrorBody, retry_after_s: float | None) -> ModelError:
    details = body.details or ()
    if status == 400 and any(detail.reason == KEY_INVALID for detail in details):
        status = 401
    kind, message = BY_STATUS.get(status) or _by_range(status)
    if retry_after_s is None:
        retry_after_s = next((_delay(each.retry_delay) for each in details if each.retry_delay), None)
    if kind is ModelThrottled:
        return ModelThrottled(message, status=status, retry_after_s=retry_after_s, kind=_throttle_kind(body))
    return kind(message, status=status, retry_after_s=retry_after_s)


def _throttle_kind(body: ErrorBody) -> ThrottleKind:
    message = bytes(body.message).lower()
    return next((kind for text, kind in BY_TEXT if text in message), "shared")


def _by_range(status: int) -> tuple[type[ModelError], str]:
    if status >= 500:
        return BY_STATUS[500]
    if status >= 400:
        return BY_STATUS[400]
    return ModelProtocolError, "the model's server answered with an unexpected status"


def _read(body: bytes) -> ErrorBody | None:
    try:
        if body.lstrip().startswith(b"["):
            replies = _decode_list(body)
            return replies[0].error if replies else None
        return _decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


def _seconds(header: str | None, now_s: float) -> float | None:
    if header is None:
        return None
    try:
        return _told(float(header))
    except ValueError:
        pass
    try:
        return _told(parsedate_to_datetime(header).timestamp() - now_s)
    except (ValueError, OverflowError):
        return None


def _delay(duration: str | None) -> float | None:
    """Seconds of a protobuf duration such as `12.5s`."""
    try:
        return _told(float((duration or "").removesuffix("s")))
    except ValueError:
        return None


def _told(seconds: float) -> float | None:
    """`nan` and `inf` read as numbers, too, and would make waits that never end; what is past is no wait."""
    return max(0.0, seconds) if isfinite(seconds) else None
