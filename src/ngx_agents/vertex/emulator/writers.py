"""The emulator's surfaces behind one face: reading a prompt, writing a reply, frames and errors."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from ngx_agents.vertex.emulator import openai_surface, vertex_reader, vertex_surface
from ngx_agents.vertex.emulator.exchange import EVENT_STREAM, JSON, Header
from ngx_agents.vertex.emulator.prompt import Answer, Prompt


class Surface(Protocol):
    """One call as its surface sees it. `content_type` is of the stream."""

    streams: bool
    content_type: Header

    def read(self, doc: Any) -> Prompt: ...
    def reply(self, answer: Answer) -> bytes: ...
    def frames(self, answer: Answer) -> list[bytes]:
        """The bytes to send, in order, the framing included."""
        ...

    def error(self, status: int, message: str | None) -> bytes: ...
    def error_in_stream(self, status: int, message: str | None) -> bytes: ...


class VertexCall:
    """`generateContent` or `streamGenerateContent`; as events with `alt=sse`, otherwise one JSON array."""

    def __init__(self, model: str, *, streams: bool, events: bool) -> None:
        self.streams = streams
        self.content_type = EVENT_STREAM if events else JSON
        self._model = model
        self._events = events

    def read(self, doc: Any) -> Prompt:
        return vertex_reader.read(doc, self._model)

    def reply(self, answer: Answer) -> bytes:
        return vertex_surface.reply(answer)

    def frames(self, answer: Answer) -> list[bytes]:
        documents = vertex_surface.frames(answer)
        if self._events:
            return [b"data: %b\r\n\r\n" % document for document in documents]
        framed = [b",\r\n" + document for document in documents]
        framed[0] = b"[" + documents[0]
        framed[-1] += b"]"
        return framed

    def error(self, status: int, message: str | None) -> bytes:
        return vertex_surface.error(status, message)

    def error_in_stream(self, status: int, message: str | None) -> bytes:
        return vertex_surface.error_in_stream(status, message)


class VertexCount:
    """`countTokens`."""

    streams = False
    content_type = JSON

    def __init__(self, model: str) -> None:
        self._model = model

    def read(self, doc: Any) -> Prompt:
        if isinstance(doc, dict) and "generateContentRequest" in doc:
            doc = doc["generateContentRequest"]
        return vertex_reader.read(doc, self._model)

    def reply(self, answer: Answer) -> bytes:
        return vertex_surface.counted(answer.prompt_tokens, 4 * answer.prompt_tokens)

    def frames(self, answer: Answer) -> list[bytes]:
        return [self.reply(answer)]

    def error(self, status: int, message: str | None) -> bytes:
        return vertex_surface.error(status, message)

    def error_in_stream(self, status: int, message: str | None) -> bytes:
        return vertex_surface.error_in_stream(status, message)


class OpenAICall:
    """`/v1/chat/completions`. Whether it streams, and with usage, stands in the body."""

    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self.streams = False
        self._with_usage = False

    def read(self, doc: Any) -> Prompt:
        prompt = openai_surface.read(doc)
        self.streams = bool(doc.get("stream"))
        self._with_usage = bool((doc.get("stream_options") or {}).get("include_usage"))
        return prompt

    def reply(self, answer: Answer) -> bytes:
        return openai_surface.reply(answer)

    def frames(self, answer: Answer) -> list[bytes]:
        documents = openai_surface.frames(answer, with_usage=self._with_usage)
        framed = [b"data: %b\n\n" % document for document in documents]
        framed[-1] += b"data: [DONE]\n\n" if answer.finish else b""
        return framed

    def error(self, status: int, message: str | None) -> bytes:
        return openai_surface.error(status, message)

    def error_in_stream(self, status: int, message: str | None) -> bytes:
        return openai_surface.error_in_stream(status, message)


def parse_body(body: bytes) -> Any:
    """The JSON document of a body. Raises ValueError."""
    return msgspec.json.decode(body)
