"""Scripted faults: what goes wrong, for which of the next calls.

The script is a list. A call takes the first fault that still applies: one with `share` by a seeded draw, one
with `times` until it is used up. One fault a call, so that a script reads as a sequence.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ngx_agents.clock import Rng

Kind = Literal[
    "status",  # answers `status` with the error body of the surface, `message` and `retry_after_s` if given
    "html",  # answers `status` (404) with an HTML page, as a wrong host does
    "reset",  # resets the connection before the first byte
    "cut",  # closes the connection after `at_chunk` frames
    "stall_first",  # waits `delay_ms` before the first byte
    "stall_gap",  # waits `delay_ms` after `at_chunk` frames
    "error_in_stream",  # after `at_chunk` frames, the error as pretty-printed JSON without `data:`
    "byte_split",  # sends the stream in pieces of `size_bytes`
    "line_separator",  # U+2028 inside the text
    "empty_stop",  # finishes STOP with no parts
    "thought_only",  # thinks and says nothing
    "malformed_call",  # finishReason MALFORMED_FUNCTION_CALL, empty content
    "safety",  # finishReason SAFETY after half of the text
    "blocked_prompt",  # promptFeedback and no candidates
    "truncated",  # half of the JSON body
    "unknown_finish",  # a finishReason nobody has heard of
    "no_finish",  # a stream that ends without finishReason
    "usage_last",  # the last chunk holds usage only
    "force_call",  # calls the tool `name` with `arguments`
]


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`times` counts down (None: for ever). `share` in (0, 1] applies it to that part of the calls."""

    kind: Kind
    times: int | None = 1
    share: float | None = None
    status: int | None = None
    message: str | None = None
    retry_after_s: float | None = None
    at_chunk: int = 1
    delay_ms: float = 0.0
    size_bytes: int = 1
    name: str | None = None
    arguments: dict[str, Any] = {}


class Script:
    """The faults still to come."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Rng(seed)
        self.faults: list[Fault] = []

    def load(self, faults: list[Fault]) -> None:
        self.faults = faults
        self._rng = Rng(self._seed)

    def draw(self) -> Fault | None:
        """The fault of the next call, if any."""
        for fault in self.faults:
            if fault.share is not None and self._rng.random() >= fault.share:
                continue
            if fault.share is None and fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults = [other for other in self.faults if other is not fault]
            return fault
        return None
