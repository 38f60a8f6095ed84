"""Vertex's answers read: whole, or from the frames of a stream."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import ModelBlocked, ModelProtocolError, ModelUnavailable
from ngx_agents.vertex.content import FinishReason, ModelReply, ToolCall, Usage
from ngx_agents.vertex.dialects import vertex_wire as wire
from ngx_agents.vertex.dialects.reply_builder import ReplyBuilder
from ngx_agents.vertex.refusal import error_in_stream
from ngx_agents.vertex.sse import FrameSplitter

FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "max_tokens",
    "SAFETY": "safety",
    "RECITATION": "safety",
    "BLOCKLIST": "safety",
    "PROHIBITED_CONTENT": "safety",
    "SPII": "safety",
    "MODEL_ARMOR": "safety",
    "MALFORMED_FUNCTION_CALL": "malformed_call",
    "UNEXPECTED_TOOL_CALL": "malformed_call",
    "TOO_MANY_TOOL_CALLS": "malformed_call",
}
_decode = msgspec.json.Decoder(wire.GenerateReply).decode
_decode_list = msgspec.json.Decoder(list[wire.GenerateReply]).decode


class VertexReading:
    """One reply being read, from one document or from the frames of a stream."""

    def __init__(self, location: str, model: str) -> None:
        self._builder = ReplyBuilder(provider="vertex", location=location, model=model)
        self._splitter = FrameSplitter()
        self._blocked = False
        self._has_candidate = False

    def feed(self, chunk: bytes) -> list[str]:
        texts: list[str] = []
        for frame in self._splitter.feed(chunk):
            texts.extend(self.take(decoded(frame)))
        return texts

    def finish(self) -> ModelReply:
        """Raises ModelUnavailable unless a finishReason came."""
        for frame in self._splitter.finish():
            try:
                reply = decoded(frame)
            except ModelProtocolError:
                break  # the last frame was cut off, which the missing finishReason tells better
            self.take(reply)
        if self._builder.finish_reason is None and not self._blocked:
            raise ModelUnavailable("the model's stream ended before the answer was complete")
        return self.whole()

    def take(self, reply: wire.GenerateReply) -> list[str]:
        """Adds one document; the pieces of visible text in it."""
        if reply.error is not None:
            raise error_in_stream(reply.error)
        builder = self._builder
        if reply.model_version:
            builder.model = reply.model_version
        if reply.usage_metadata is not None:
            builder.usage = _usage(reply.usage_metadata)
        if reply.prompt_feedback is not None and reply.prompt_feedback.block_reason:
            self._blocked = True
        if not reply.candidates:
            return []
        self._has_candidate = True
        candidate = reply.candidates[0]
        if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
            builder.finish_reason = FINISH.get(candidate.finish_reason, "other")
        return self._add(candidate.content.parts) if candidate.content and candidate.content.parts else []

    def whole(self) -> ModelReply:
        if self._blocked and self._builder.finish_reason is None:
            raise ModelBlocked("a safety filter blocked the prompt")
        if not self._has_candidate:
            raise ModelProtocolError("the model's reply has no candidate")
        return self._builder.reply()

    def _add(self, parts: list[wire.Part]) -> list[str]:
        texts: list[str] = []
        for part in parts:
            if part.function_call is not None:
                call = part.function_call
                self._builder.add_call(
                    ToolCall(name=call.name, arguments=call.args or {}, id=call.id, signature=part.thought_signature)
                )
            elif part.text is not None:
                self._builder.add_text(part.text, thought=part.thought, signature=part.thought_signature)
                if part.text and not part.thought:
                    texts.append(part.text)
        return texts


def decoded(frame: bytes) -> wire.GenerateReply:
    try:
        if frame[:1] == b"[":
            return (_decode_list(frame) or [wire.GenerateReply()])[0]
        return _decode(frame)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ModelProtocolError("the model's reply cannot be understood") from exc


def _usage(usage: wire.UsageMetadata) -> Usage:
    return Usage(
        input_tokens=usage.prompt_token_count + usage.tool_use_prompt_token_count,
        output_tokens=usage.candidates_token_count,
        thought_tokens=usage.thoughts_token_count,
        cached_tokens=usage.cached_content_token_count,
    )
