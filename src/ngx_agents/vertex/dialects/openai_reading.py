"""Chat completions read: whole, or from the frames of a stream."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import ModelProtocolError, ModelUnavailable
from ngx_agents.vertex.content import FinishReason, ModelReply, ToolCall, Usage
from ngx_agents.vertex.dialects import openai_wire as wire
from ngx_agents.vertex.dialects.dialect import UNREADABLE, json_object
from ngx_agents.vertex.dialects.frames import Frames
from ngx_agents.vertex.dialects.reply_builder import ReplyBuilder
from ngx_agents.vertex.refusal import error_in_stream

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


class OpenAIReading:
    """One completion being read, from one document or from the frames of a stream."""

    def __init__(self, model: str) -> None:
        self._builder = ReplyBuilder(provider="openai", location="", asked=model)
        self._frames = Frames()
        self._calls: dict[int, _GrowingCall] = {}
        self._has_choice = False
        self._done = False

    def feed(self, chunk: bytes) -> list[str]:
        texts: list[str] = []
        for frame in self._frames.feed(chunk):
            texts.extend(self._take_frame(frame))
        return texts

    def finish(self) -> ModelReply:
        """Raises ModelUnavailable unless a finish_reason or `[DONE]` came."""
        for frame in self._frames.finish():
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
                self._builder.add(ToolCall(name=call.name, arguments=arguments, id=call.id))
        return self._builder.reply()

    def _take_frame(self, frame: bytes) -> list[str]:
        if frame.strip() == DONE:
            self._done = True
            return []
        return self.take(decoded(frame))

    def _add(self, message: wire.ChatMessage) -> list[str]:
        if message.reasoning_content:
            self._builder.add_text(message.reasoning_content, thought=True, signature=None)
        for place, piece in enumerate(message.tool_calls or ()):
            index = place if piece.index is None else piece.index
            self._calls.setdefault(index, _GrowingCall()).add(piece)
        text = _text(message.content)
        if not text:
            return []
        self._builder.add_text(text, thought=False, signature=None)
        return [text]


class _GrowingCall:
    """A tool call whose arguments arrive in pieces."""

    def __init__(self) -> None:
        self.id: str | None = None
        self.name = ""
        self._pieces: list[str] = []

    def add(self, piece: wire.ChatToolCall) -> None:
        self.id = piece.id or self.id
        if piece.function is not None:
            self.name = piece.function.name or self.name
            self._pieces.append(piece.function.arguments or "")

    @property
    def arguments(self) -> str:
        return "".join(self._pieces)


def _text(content: str | list[wire.ChatPart] | None) -> str | None:
    """Some servers answer in parts, as requests may be made of."""
    return "".join(part.text or "" for part in content) if isinstance(content, list) else content


def decoded(frame: bytes) -> wire.ChatReply:
    try:
        return _decode(frame)
    except UNREADABLE as exc:
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
