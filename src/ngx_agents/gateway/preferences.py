"""What a client prefers: `respond-async` and `wait`. Source: RFC 7240, sections 2, 4.1 and 4.3.

The first of several of a name counts, names are compared without case, and what is not understood is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

MAX_WAIT_S = 60
MAX_FIELD_CHARS = 512  # of all fields together; longer ones are not understood


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """`wait_s` is how long to wait for the answer before the 202, at most MAX_WAIT_S; 0 when that was not asked."""

    is_async: bool = False
    wait_s: int = 0


NONE = Preferences()


def preferences_of(headers: Iterable[tuple[bytes, bytes]]) -> Preferences:
    """Of all `Prefer` fields of a request."""
    asked: dict[str, str] = {}
    fields = ",".join(value.decode("latin-1") for name, value in headers if name == b"prefer")
    if len(fields) > MAX_FIELD_CHARS:
        return NONE
    for each in _split(fields, ","):
        name, _, value = (part.strip() for part in _split(each, ";")[0].partition("="))
        if _is_plain(name) and name and (_is_plain(value) or _is_quoted(value)):
            asked.setdefault(name.lower(), value.strip('"'))
    wait = asked.get("wait", "")
    wait_s = min(int(wait[:9]), MAX_WAIT_S) if wait.isascii() and wait.isdigit() else 0
    return Preferences(is_async=asked.get("respond-async") == "", wait_s=wait_s)


def _split(text: str, mark: str) -> list[str]:
    """What stands between marks that are not in quotes."""
    parts, begin, is_quoted, is_escaped = [], 0, False, False
    for place, character in enumerate(text):
        if is_escaped:
            is_escaped = False
        elif is_quoted and character == "\\":
            is_escaped = True
        elif character == '"':
            is_quoted = not is_quoted
        elif character == mark and not is_quoted:
            parts.append(text[begin:place])
            begin = place + 1
    return [*parts, text[begin:]]


def _is_plain(word: str) -> bool:
    return '"' not in word and len(word.split()) <= 1


def _is_quoted(value: str) -> bool:
    return len(value) > 1 and value[0] == value[-1] == '"'


def applied(preferences: Preferences) -> tuple[bytes, bytes]:
    """The header that says what was done."""
    wait = b", wait=%d" % preferences.wait_s if preferences.wait_s else b""
    return b"preference-applied", b"respond-async" + wait
