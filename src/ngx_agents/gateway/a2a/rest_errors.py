"""Errors over HTTP+JSON as they are told: with the status that HTTP has, and for 0.3 also in its own words.

The SDK words an error of ours that HTTP has a status for (later, too many) as internal, code 500, and knows of 0.3 only
what its client reads: the name of the error and its text, at the top.
"""

from __future__ import annotations

from typing import Any

import msgspec
from a2a.utils.errors import A2A_REASON_TO_ERROR, A2AError, InternalError

_decode, _encode = msgspec.json.Decoder().decode, msgspec.json.encode
_STATUS = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}


def retold(body: bytes, *, status: int, is_0_3: bool) -> bytes:
    """The body of an error; as it is where it is none of ours."""
    try:
        told = _decode(body)
    except msgspec.DecodeError:
        return body
    error = told.get("error") if isinstance(told, dict) else None
    if not isinstance(error, dict):
        return body
    if status in _STATUS:
        error |= {"code": status, "status": _STATUS[status]}
    return _encode(with_name(told) if is_0_3 else told)


def with_name(told: dict[str, Any], kind: type[A2AError] | None = None) -> dict[str, Any]:
    """An error with what a caller of 0.3 reads; what is not known is internal."""
    error = told["error"]
    reasons = [detail.get("reason", "") for detail in error.get("details", ())]
    found = kind or A2A_REASON_TO_ERROR.get(reasons[0] if reasons else "", InternalError)
    return {**told, "type": found.__name__, "message": error.get("message", "")}
