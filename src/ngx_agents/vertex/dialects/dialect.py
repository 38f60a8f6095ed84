"""The shape a dialect has, and what all of them encode with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ngx_agents.vertex.content import (
    ModelReply,
    ModelRequest,
    ToolDeclaration,
)

MAX_TOOL_SETS = 256


class StreamReader(Protocol):
    """Reads one stream. Both methods raise ModelError for what the stream says or breaks."""

    def feed(self, chunk: bytes) -> list[str]:
        """The pieces of visible text that `chunk` completes."""
        ...

    def finish(self) -> ModelReply:
        """The whole reply, once the body has ended."""
        ...


class Dialect(Protocol):
    """One provider's way of speaking. `name` is the key of the wire bytes kept with a content."""

    name: str

    def encode(self, request: ModelRequest, *, model: str, streams: bool) -> bytes: ...

    def decode(self, body: bytes, *, model: str) -> ModelReply:
        """Raises ModelError."""
        ...

    def reader(self, *, model: str) -> StreamReader: ...


class ToolSets:
    """The wire bytes of tool lists, encoded once per tuple of declarations (kept, so that its id stays its own)."""

    def __init__(self, encode: Callable[[Sequence[ToolDeclaration]], bytes]) -> None:
        self._encode = encode
        self._known: dict[int, tuple[tuple[ToolDeclaration, ...], msgspec.Raw]] = {}

    def raw(self, tools: tuple[ToolDeclaration, ...]) -> msgspec.Raw | None:
        if not tools:
            return None
        known = self._known.get(id(tools))
        if known is None or known[0] is not tools:
            if len(self._known) >= MAX_TOOL_SETS:
                self._known.clear()
            known = self._known[id(tools)] = (tools, msgspec.Raw(self._encode(tools)))
        return known[1]


def joined(wires: Sequence[bytes]) -> msgspec.Raw:
    """A JSON array of elements that are already encoded."""
    return msgspec.Raw(b"[%b]" % b",".join(wires))


def json_object(text: str) -> dict[str, Any] | None:
    """The object that `text` is, or None when it is not one."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
