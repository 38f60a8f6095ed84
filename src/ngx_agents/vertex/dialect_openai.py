"""OpenAI's chat completions, as Ollama, vLLM, llama.cpp and many others speak it.

One neutral content may become several messages: every tool result is a message of its own. Calls without an id get
one from their name and place, the same for the call and for its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ngx_agents.errors import ModelProtocolError, ModelUnavailable
from ngx_agents.vertex import wire
from ngx_agents.vertex.content import (
    Content,
    FinishReason,
    ModelReply,
    ModelRequest,
    Text,
    ToolCall,
    ToolDeclaration,
    ToolResult,
    Usage,
)
from ngx_agents.vertex.dialect import ReplyBuilder, ToolSets, joined, json_object
from ngx_agents.vertex.refusal import error_in_stream
from ngx_agents.vertex.sse import FrameSplitter

DONE = b"[DONE]"
FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "tool_calls": "stop",
    "function_call": "stop",
    "length": "max_tokens",
    "content_filter": "safety",
    "error": "malformed_call",
}
_decode = msgspec.json.Decoder(wire.ChatReply).decode
_encode = msgspec.json.Encoder().encode


class OpenAIDialect:
    """Stateless but for the encoded tool lists."""

    name = "openai"

    def __init__(self) -> None:
        self._tools = ToolSets(_encode_tools)

    def encode(self, request: ModelRequest, *, model: str, streams: bool) -> bytes:
        messages = [_wire_of(content) for content in request.contents]
        if request.system:
            messages.insert(0, _encode(wire.ChatMessage(role="system", content=request.system)))
        body = wire.ChatRequest(
            model=model,
            messages=joined(messages),
            tools=self._tools.raw(request.tools),
            temperature=request.temperature,
            max_tokens=request.max_output_tokens,
            stream=streams,
            stream_options=wire.StreamOptions() if streams else None,
        )
        return _encode(body)

    def decode(self, body: bytes, *, model: str) -> ModelReply:
        """Raises ModelBlocked, ModelProtocolError."""
        reading = OpenAIReading(model)
        reading.take(_decoded(body))
        return reading.whole()

    def reader(self, *, model: str) -> OpenAIReading:
        return OpenAIReading(model)


class OpenAIReading:
    """One completion being read, from one document or from the frames of a stream."""

    def __init__(self, model: str) -> None:
        self._builder = ReplyBuilder(provider="openai", location="", model=model)
        self._splitter = FrameSplitter()
        self._calls: dict[int, _GrowingCall] = {}
        self._has_choice = False
        self._done = False

    def feed(self, chunk: bytes) -> list[str]:
        texts: list[str] = []
        for frame in self._splitter.feed(chunk):
            texts.extend(self._take_frame(frame))
        return texts

    def finish(self) -> ModelReply:
        """Raises ModelUnavailable unless a finish_reason or `[DONE]` came."""
        for frame in self._splitter.finish():
            try:
                self._take_frame(frame)
            except ModelProtocolError:
                break  # the last frame was cut off
        if self._builder.finish_reason is None and not self._done:
            raise ModelUnavailable("the model's stream ended before the answer was complete")
        return self.whole()

    def take(self, reply: wire.ChatReply) -> list[str]:
        """Adds one document; the pieces of visible text in it."""
        if reply.error is not None:
            raise error_in_stream(reply.error)
        if reply.model:
            self._builder.model = reply.model
        if reply.usage is not None:
            self._builder.usage = _usage(reply.usage)
        if not reply.choices:
            return []
        self._has_choice = True
        choice = reply.choices[0]
        if choice.finish_reason:
            self._builder.finish_reason = FINISH.get(choice.finish_reason, "other")
        return self._add(choice.delta or choice.message or wire.ChatMessage())

    def whole(self) -> ModelReply:
        if not self._has_choice:
            raise ModelProtocolError("the model's reply has no choice")
        for call in self._calls.values():
            arguments = json_object(call.arguments)
            if arguments is None or not call.name:
                self._builder.finish_reason = "malformed_call"
            else:
                self._builder.add_call(ToolCall(name=call.name, arguments=arguments, id=call.id))
        return self._builder.reply()

    def _take_frame(self, frame: bytes) -> list[str]:
        if frame.strip() == DONE:
            self._done = True
            return []
        return self.take(_decoded(frame))

    def _add(self, message: wire.ChatMessage) -> list[str]:
        if message.reasoning_content:
            self._builder.add_text(message.reasoning_content, thought=True, signature=None)
        for place, piece in enumerate(message.tool_calls or ()):
            index = place if piece.index is None else piece.index
            self._calls.setdefault(index, _GrowingCall()).add(piece)
        if not message.content:
            return []
        self._builder.add_text(message.content, thought=False, signature=None)
        return [message.content]


class _GrowingCall:
    """A tool call whose arguments arrive in pieces."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self.arguments = ""

    def add(self, piece: wire.ChatToolCall) -> None:
        self.id = piece.id or self.id
        if piece.function is not None:
            self.name = piece.function.name or self.name
            self.arguments += piece.function.arguments or ""


def _decoded(frame: bytes) -> wire.ChatReply:
    try:
        return _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ModelProtocolError("the model's reply cannot be understood") from exc


def _usage(usage: wire.ChatUsage) -> Usage:
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None
    thought = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else None
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=max(0, usage.completion_tokens - (thought or 0)),
        thought_tokens=thought or 0,
        cached_tokens=cached or 0,
    )


def _wire_of(content: Content) -> bytes:
    """The messages of a content, joined by commas."""
    made = content.wire.get("openai")
    if made is None:
        made = content.wire["openai"] = b",".join(_encode(message) for message in _messages(content))
    return made


def _messages(content: Content) -> Iterator[wire.ChatMessage]:
    results = [part for part in content.parts if isinstance(part, ToolResult)]
    for result, call_id in zip(results, _ids(results), strict=True):
        text = _encode(result.response).decode()
        yield wire.ChatMessage(role="tool", content=text, tool_call_id=call_id)
    calls = [part for part in content.parts if isinstance(part, ToolCall)]
    text = "".join(part.text for part in content.parts if isinstance(part, Text) and not part.thought)
    if text or calls or not results:
        role = "assistant" if content.role == "model" else "user"
        yield wire.ChatMessage(role=role, content=text, tool_calls=_tool_calls(calls) or None)


def _tool_calls(calls: Sequence[ToolCall]) -> list[wire.ChatToolCall]:
    return [
        wire.ChatToolCall(
            id=call_id,
            type="function",
            function=wire.ChatFunction(name=call.name, arguments=_encode(call.arguments).decode()),
        )
        for call, call_id in zip(calls, _ids(calls), strict=True)
    ]


def _ids(parts: Sequence[ToolCall] | Sequence[ToolResult]) -> list[str]:
    seen: Counter[str] = Counter()
    ids: list[str] = []
    for part in parts:
        ids.append(part.id or f"call_{part.name}_{seen[part.name]}")
        seen[part.name] += 1
    return ids


def _encode_tools(tools: Sequence[ToolDeclaration]) -> bytes:
    functions: list[dict[str, Any]] = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in tools
    ]
    return _encode([{"type": "function", "function": function} for function in functions])
