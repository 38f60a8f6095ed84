"""Places in a list of tasks: when the last one given came to its state, and its id."""

from __future__ import annotations

import base64
import binascii

from ngx_agents.errors import InvalidRequest

MAX_CHARS = 200
FIRST = (float("inf"), "~")


def cursor_of(at: float, task_id: str) -> str:
    """Opaque and safe in URLs."""
    return base64.urlsafe_b64encode(f"{at!r}|{task_id}".encode()).decode().rstrip("=")


def place_of(cursor: str | None) -> tuple[float, str]:
    """(at, task id); the list's beginning for None. Raises InvalidRequest for what we never give."""
    if cursor is None:
        return FIRST
    try:
        if len(cursor) > MAX_CHARS:
            raise ValueError
        padded = cursor + "=" * (-len(cursor) % 4)
        at, task_id = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode().split("|", 1)
        if cursor_of(float(at), task_id) != cursor:
            raise ValueError
        return float(at), task_id
    except (ValueError, binascii.Error, UnicodeError) as error:
        raise InvalidRequest("not a page token of this list", field="pageToken") from error
