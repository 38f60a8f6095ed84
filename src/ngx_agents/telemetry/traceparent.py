"""The header by which one server tells the next which span it works for. Source: W3C Trace Context."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_HEADER = 512
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)


class TraceParent(NamedTuple):
    """The caller's span, as W3C's `traceparent` header names it."""

    trace_id: int
    span_id: int
    is_sampled: bool


def parse_traceparent(header: str | None) -> TraceParent | None:
    """None for a header that is absent or not valid, which a server must then ignore. Source: W3C Trace Context."""
    found = _TRACEPARENT.fullmatch(header) if header is not None and len(header) <= MAX_HEADER else None
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceParent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))
