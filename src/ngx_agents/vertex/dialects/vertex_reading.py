"""Vertex's answers read: whole, or from the frames of a stream."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import ModelBlocked, ModelProtocolError, ModelUnavailable
from ngx_agents.vertex.content import FinishReason, Media, ModalityTokens, ModelReply, ToolCall, Usage
from ngx_agents.vertex.dialects import vertex_wire as wire
from ngx_agents.vertex.dialects.dialect import UNREADABLE
from ngx_agents.vertex.dialects.frames import Frames
from ngx_agents.vertex.dialects.reply_builder import ReplyBuilder
from ngx_agents.vertex.refusal import error_in_stream

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
        self._builder = ReplyBuilder(provider="vertex", location=location, asked=model)
        self._frames = Frames()
        self._blocked = False
        self._has_candidate = False

    def feed(self, chunk: bytes) -> list[str]:
        texts: list[str] = []
        for frame in self._frames.feed(chunk):
            texts.extend(self.take_document(frame))
        return texts

    def finish(self) -> ModelReply:
        """Raises ModelUnavailable unless a finishReason came."""
        for frame in self._frames.finish():
            try:
                self.take_document(frame)
            except ModelProtocolError:
                break  # the last frame was cut off, which the missing finishReason tells better
        if self._builder.finish_reason is None and not self._blocked:
            raise ModelUnavailable("the model's stream ended before the answer was complete")
        return self.whole()

    def take_document(self, document: bytes) -> list[str]:
        """Adds one document, or all of an array of them; the pieces of visible text. Raises ModelError."""
        texts: list[str] = []
        for reply in _decoded(document):
            texts.extend(self._take(reply))
        return texts

    def whole(self) -> ModelReply:
        if self._blocked and self._builder.finish_reason is None:
            raise ModelBlocked("a safety filter blocked the prompt")
        if not self._has_candidate:
            raise ModelProtocolError("the model's reply has no candidate")
        return self._builder.reply()

    def _take(self, reply: wire.GenerateReply) -> list[str]:
        if reply.error is not None:
            raise error_in_stream(reply.error)
        builder = self._builder
        if reply.model_version:
            builder.model = reply.model_version
        if reply.usage_metadata is not None:
            builder.usage = _usage(reply.usage_metadata)
            builder.traffic_type = reply.usage_metadata.traffic_type or builder.traffic_type
        if reply.prompt_feedback is not None and reply.prompt_feedback.block_reason:
            self._blocked = True
        if not reply.candidates:
            return []
        self._has_candidate = True
        return self._add(reply.candidates[0])

    def _add(self, candidate: wire.Candidate) -> list[str]:
        builder = self._builder
        if candidate.finish_reason and candidate.finish_reason != "FINISH_REASON_UNSPECIFIED":
            builder.finish_reason = FINISH.get(candidate.finish_reason, "other")
        if candidate.grounding_metadata or candidate.url_context_metadata:
            builder.is_grounded = True
        if candidate.citation_metadata:
            builder.has_citations = True
        parts = candidate.content.parts if candidate.content else None
        return [text for part in parts or () if (text := self._add_part(part))]

    def _add_part(self, part: wire.Part) -> str | None:
        """The visible text of the part, if it has any; parts of an unknown kind are passed over."""
        builder = self._builder
        if part.function_call is not None:
            call = part.function_call
            signature = part.thought_signature
            builder.add(ToolCall(name=call.name, arguments=call.args or {}, id=call.id, signature=signature))
        elif part.text is not None:
            builder.add_text(part.text, thought=part.thought, signature=part.thought_signature)
            return None if part.thought else part.text
        elif part.inline_data is not None and not part.thought:
            builder.add(Media(mime_type=part.inline_data.mime_type, data=part.inline_data.data))
        return None


def _decoded(document: bytes) -> list[wire.GenerateReply]:
    try:
        return _decode_list(document) if document[:1] == b"[" else [_decode(document)]
    except UNREADABLE as exc:
        raise ModelProtocolError("the model's reply cannot be understood") from exc


def _usage(usage: wire.UsageMetadata) -> Usage:
    return Usage(
        input_tokens=usage.prompt_token_count + usage.tool_use_prompt_token_count,
        output_tokens=usage.candidates_token_count,
        thought_tokens=usage.thoughts_token_count,
        cached_tokens=usage.cached_content_token_count,
        tool_tokens=usage.tool_use_prompt_token_count,
        input_details=_details(usage.prompt_tokens_details),
        output_details=_details(usage.candidates_tokens_details),
    )


def _details(counts: list[wire.ModalityTokenCount] | None) -> tuple[ModalityTokens, ...]:
    if not counts:
        return ()
    return tuple(ModalityTokens(count.modality.lower(), count.token_count) for count in counts)
