"""Scripted faults: what goes wrong, for which of the next calls.

The script is a list. A call takes the first fault that matches it and still applies: one with `share` by a seeded
draw, one with `times` until it is used up. One fault a call, so that a script reads as a sequence.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec

from ngx_agents.clock import Rng
from ngx_agents.vertex.emulator.refusal import TABLE
from ngx_agents.vertex.emulator.target import Target

Kind = Literal[
    "pass",  # nothing: the call is served, and counts in the sequence
    "status",  # answers `status` with the error body of the surface, `message` and `retry_after_s` if given
    "refusal",  # answers with the row `name` of the error table (`refusal.TABLE`)
    "html",  # answers `status` (404) with an HTML page, as a wrong host does
    "reset",  # resets the connection before the first byte
    "cut",  # closes the connection after `at_chunk` frames; a unary answer in the middle of its body
    "reset_in_stream",  # the same with a reset: what was written may be lost too
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
    """`times` counts down (None: for ever). `share` in (0, 1] applies it to that part of the calls.

    `operation`, `model` and `location` may hold `*`. `after` lets so many matching calls pass first. With
    `at_chunk_max` the chunk is drawn from the seed, both ends included.
    """

    kind: Kind
    operation: str = "*"
    model: str = "*"
    location: str = "*"
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    times: Annotated[int, msgspec.Meta(ge=1)] | None = 1
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    message: str | None = None
    retry_after_s: float | None = None
    content_type: str | None = None
    at_chunk: Annotated[int, msgspec.Meta(ge=0)] = 1
    at_chunk_max: int | None = None
    delay_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    size_bytes: Annotated[int, msgspec.Meta(ge=1)] = 1
    name: str | None = None
    arguments: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if self.kind == "refusal" and self.name not in TABLE:
            raise ValueError(f"a refusal is one of {', '.join(TABLE)}")

    def matches(self, target: Target) -> bool:
        return (
            fnmatchcase(target.operation, self.operation)
            and fnmatchcase(target.model, self.model)
            and fnmatchcase(target.location, self.location)
        )


class Script:
    """The faults still to come, and how often each kind was played."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._rng = Rng(seed)
        self.faults: list[Fault] = []
        self.played: dict[str, int] = {}

    def load(self, faults: list[Fault]) -> None:
        self.faults = faults
        self._rng = Rng(self._seed)

    def draw(self, target: Target) -> Fault | None:
        """The fault of this call, if any."""
        for fault in self.faults:
            if fault.matches(target) and self._applies(fault):
                self.played[fault.kind] = self.played.get(fault.kind, 0) + 1
                return None if fault.kind == "pass" else self._placed(fault)
        return None

    def _applies(self, fault: Fault) -> bool:
        if fault.after > 0:
            fault.after -= 1
            return False
        if fault.share is not None:
            return self._rng.random() < fault.share
        if fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self.faults = [other for other in self.faults if other is not fault]
        return True

    def _placed(self, fault: Fault) -> Fault:
        if fault.at_chunk_max is None:
            return fault
        span = max(1, fault.at_chunk_max - fault.at_chunk + 1)
        return msgspec.structs.replace(
            fault, at_chunk=fault.at_chunk + int(self._rng.random() * span), at_chunk_max=None
        )
