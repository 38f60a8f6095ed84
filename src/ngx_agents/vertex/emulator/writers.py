"""The surfaces of generation behind one face: reading a prompt, writing a reply, frames and errors."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol

from ngx_agents.vertex.emulator import openai_surface, vertex_reader, vertex_surface
from ngx_agents.vertex.emulator.caches import Caches
from ngx_agents.vertex.emulator.catalog import Catalog
from ngx_agents.vertex.emulator.exchange import EVENT_STREAM, JSON, Header
from ngx_agents.vertex.emulator.prompt import Answer, Prompt
from ngx_agents.vertex.emulator.refusal import Refusal
from ngx_agents.vertex.emulator.target import Target


class Errors(Protocol):
    """How a surface says no."""

    def error(self, refusal: Refusal) -> bytes: ...
    def error_in_stream(self, refusal: Refusal) -> bytes: ...


class Surface(Errors, Protocol):
    """One call of generation as its surface sees it. `content_type` is of the stream; `read` raises Refusal."""

    streams: bool
    content_type: Header

    def read(self, doc: dict[str, Any], catalog: Catalog, caches: Caches) -> Prompt: ...
    def reply(self, answer: Answer) -> bytes: ...
    def frames(self, answer: Answer) -> list[bytes]:
        """The bytes to send, in order, the framing included."""
        ...


class VertexErrors:
    """Errors as every Vertex call writes them; in a stream that is a JSON array, as its only element."""

    def __init__(self, target: Target, *, in_array: bool = False) -> None:
        self._target = target
        self._in_array = in_array

    def error(self, refusal: Refusal) -> bytes:
        body = vertex_surface.error(refusal, self._target.facts()["method"])
        return b"[" + body.rstrip() + b"\n]\n" if self._in_array else body

    def error_in_stream(self, refusal: Refusal) -> bytes:
        return vertex_surface.error(refusal)


class VertexCall(VertexErrors):
    """`generateContent` or `streamGenerateContent`; as events with `alt=sse`, otherwise one JSON array."""

    def __init__(self, target: Target, *, events: bool) -> None:
        self.streams = target.operation == "streamGenerateContent"
        super().__init__(target, in_array=self.streams and not events)
        self.content_type = EVENT_STREAM if events else JSON
        self._events = events

    def read(self, doc: dict[str, Any], catalog: Catalog, caches: Caches) -> Prompt:
        return vertex_reader.read(doc, self._target, catalog.find(self._target), caches)

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


@lru_cache(maxsize=1024)
def vertex_call(target: Target, events: bool, /) -> VertexCall:
    """The surface of a call of generation. It holds nothing of a call, so one serves all that look alike."""
    return VertexCall(target, events=events)


class OpenAIErrors:
    """Errors as OpenAI-compatible servers write them."""

    def error(self, refusal: Refusal) -> bytes:
        return openai_surface.error(refusal)

    def error_in_stream(self, refusal: Refusal) -> bytes:
        return openai_surface.error_in_stream(refusal)


class OpenAICall(OpenAIErrors):
    """`/v1/chat/completions`. Whether it streams, and with usage, stands in the body; any model is served."""

    content_type = EVENT_STREAM

    def __init__(self) -> None:
        self.streams = False
        self._with_usage = False

    def read(self, doc: dict[str, Any], catalog: Catalog, caches: Caches) -> Prompt:
        try:
            prompt = openai_surface.read(doc)
            self._with_usage = bool((doc.get("stream_options") or {}).get("include_usage"))
        except (AttributeError, TypeError, ValueError) as exc:
            raise Refusal(400, "Invalid type for a field of the request.") from exc
        self.streams = bool(doc.get("stream"))
        return prompt

    def reply(self, answer: Answer) -> bytes:
        return openai_surface.reply(answer)

    def frames(self, answer: Answer) -> list[bytes]:
        documents = openai_surface.frames(answer, with_usage=self._with_usage)
        framed = [b"data: %b\n\n" % document for document in documents]
        framed[-1] += b"data: [DONE]\n\n" if answer.finish else b""
        return framed
