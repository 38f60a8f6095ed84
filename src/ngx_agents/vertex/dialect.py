"""What both dialects are made of: putting a reply together, and the shape a dialect has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from ngx_agents.errors import ModelBlocked
from ngx_agents.vertex.content import (
    Content,
    FinishReason,
    ModelReply,
    ModelRequest,
    Part,
    Text,
    ToolCall,
    ToolDeclaration,
    Usage,
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


class ReplyBuilder:
    """Collects the parts of one reply, whole or in pieces, and signs it with where it came from."""

    def __init__(self, *, provider: str, location: str, model: str) -> None:
        self.model = model
        self.finish_reason: FinishReason | None = None
        self.usage = Usage()
        self._provider = provider
        self._location = location
        self._parts: list[Part] = []
        self._texts: list[str] = []  # of the text part still growing
        self._is_thought = False
        self._says_something = False

    def add_text(self, text: str, *, thought: bool, signature: str | None) -> None:
        """Text that follows text is one part; a signed piece stays a part of its own, as it must go back."""
        if text and not thought:
            self._says_something = True
        if signature is not None:
            self._close_text()
            self._parts.append(Text(text=text, thought=thought, signature=signature))
            return
        if thought != self._is_thought:
            self._close_text()
            self._is_thought = thought
        if text:
            self._texts.append(text)

    def add_call(self, call: ToolCall) -> None:
        self._close_text()
        self._parts.append(call)

    def reply(self) -> ModelReply:
        """Raises ModelBlocked when a safety filter left nothing of the answer."""
        self._close_text()
        if self.finish_reason == "safety" and not self._says_something:
            raise ModelBlocked("a safety filter blocked the answer")
        return ModelReply(
            content=Content(role="model", parts=tuple(self._parts)),
            finish_reason=self.finish_reason or "other",
            usage=self.usage,
            model=self.model,
            location=self._location,
            provider=self._provider,
        )

    def _close_text(self) -> None:
        if self._texts:
            self._parts.append(Text(text="".join(self._texts), thought=self._is_thought))
            self._texts = []


def joined(wires: Sequence[bytes]) -> msgspec.Raw:
    """A JSON array of elements that are already encoded."""
    return msgspec.Raw(b"[%b]" % b",".join(wires))


def json_object(text: str) -> dict[str, Any] | None:
    """The object that `text` is, or None when it is not one."""
    try:
        return msgspec.json.decode(text or "{}", type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
