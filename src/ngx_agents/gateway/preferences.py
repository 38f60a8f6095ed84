"""What a client prefers: `respond-async` and `wait`. Source: RFC 7240, sections 2, 4.1 and 4.3.

The first of several of a name counts, names are compared without case, and what is not understood is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

MAX_WAIT_S = 60
_EACH = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*")+')
_FIRST = re.compile(r'\s*([^\s=;,"]+)\s*(?:=\s*("(?:[^"\\]|\\.)*"|[^\s;,"]*)\s*)?(?:;|$)')


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """`wait_s` is how long to wait for the answer before the 202, at most MAX_WAIT_S; 0 when that was not asked."""

    is_async: bool = False
    wait_s: int = 0


NONE = Preferences()


def preferences_of(headers: Iterable[tuple[bytes, bytes]]) -> Preferences:
    """Of all `Prefer` fields of a request."""
    asked: dict[str, str] = {}
    fields = ",".join(value.decode("latin-1") for name, value in headers if name == b"prefer")
    for each in _EACH.findall(fields):
        found = _FIRST.match(each)
        if found is not None:
            asked.setdefault(found[1].lower(), (found[2] or "").strip('"'))
    wait = asked.get("wait", "")
    wait_s = min(int(wait[:9]), MAX_WAIT_S) if wait.isascii() and wait.isdigit() else 0
    return Preferences(is_async=asked.get("respond-async") == "", wait_s=wait_s)


def applied(preferences: Preferences) -> tuple[bytes, bytes]:
    """The header that says what was done."""
    wait = b", wait=%d" % preferences.wait_s if preferences.wait_s else b""
    return b"preference-applied", b"respond-async" + wait
