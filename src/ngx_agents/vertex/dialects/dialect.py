"""The shape a dialect has, and what all of them encode with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.content import ModelReply, ModelRequest, ToolDeclaration
from ngx_agents.vertex.controls import ToolChoice

MAX_TOOL_SETS = 256
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # the last for JSON nested without end


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

    def encode(self, request: ModelRequest, *, model: str, streams: bool, cached_content: str | None = None) -> bytes:
        """The body. `cached_content` names a prefix kept at the provider, which is then left out.

        Raises ModelRequestError when the request says what this model or provider cannot be told.
        """
        ...

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


def checked_choice(request: ModelRequest) -> ToolChoice | None:
    """The choice to be sent, None for the model's default. Raises ModelRequestError when it cannot be met."""
    choice = request.tool_choice
    if choice is None or (not request.tools and choice in ("auto", "none")):
        return None
    if not request.tools:
        raise ModelRequestError("a tool must be called, but none is declared")
    if isinstance(choice, tuple) and (not choice or not {tool.name for tool in request.tools}.issuperset(choice)):
        raise ModelRequestError("a tool must be called that is not declared")
    return choice


def joined(wires: Sequence[bytes]) -> msgspec.Raw:
    """A JSON array of elements that are already encoded."""
    return msgspec.Raw(b"[%b]" % b",".join(wires))


def json_object(text: str) -> dict[str, Any] | None:
    """The object that `text` is, or None when it is not one."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except UNREADABLE:
        return None
