"""Vertex's generateContent and streamGenerateContent asked: requests as joined bytes.

A function call's `thoughtSignature` stays with its part, verbatim, as long as the same model is asked; to any other
model signatures and thoughts are not sent. A call that has no signature is sent with Vertex's own word for skipping
the check, because the model refuses the history otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.errors import ModelProtocolError
from ngx_agents.vertex.content import (
    Content,
    Media,
    ModelReply,
    ModelRequest,
    Part,
    Text,
    ToolCall,
    ToolDeclaration,
    ToolResult,
)
from ngx_agents.vertex.dialects import vertex_wire as wire
from ngx_agents.vertex.dialects.dialect import UNREADABLE, ToolSets, checked_choice, joined
from ngx_agents.vertex.dialects.vertex_config import checked_labels, generation_config, safety_settings, tool_config
from ngx_agents.vertex.dialects.vertex_reading import VertexReading
from ngx_agents.vertex.media import MediaLimits, check, check_size

SKIP_SIGNATURE = "skip_thought_signature_validator"
NAME = "vertex"
FOREIGN = "vertex/foreign"  # beside NAME in a content's wire bytes: as another model than its own is told it
_decode_count = msgspec.json.Decoder(wire.CountReply).decode
_encode = msgspec.json.Encoder().encode


class VertexDialect:
    """`location` is what replies are signed with; `limits` bound media and requests."""

    name = NAME

    def __init__(self, location: str, *, limits: MediaLimits | None = None) -> None:
        self._location = location
        self._limits = limits or MediaLimits()
        self._tools = ToolSets(encode_tools)

    def encode(self, request: ModelRequest, *, model: str, streams: bool, cached_content: str | None = None) -> bytes:
        """The body; `model` and `streams` stand in the path. With `cached_content`, system and tools are in there.

        Raises ModelRequestError.
        """
        choice = checked_choice(request)
        body = wire.GenerateRequest(self._contents(request, model), generation_config=generation_config(request, model))
        if cached_content is None:
            self._add_prefix(body, request)
            body.tool_config = tool_config(choice) if choice is not None else None
        else:
            body.cached_content = cached_content
        if request.safety:
            body.safety_settings = safety_settings(request.safety)
        if request.labels:
            body.labels = checked_labels(request.labels)
        return check_size(_encode(body), self._limits)

    def encode_count(self, request: ModelRequest, *, model: str) -> bytes:
        """The body of countTokens, which takes fewer fields. Raises ModelRequestError."""
        body = wire.GenerateRequest(self._contents(request, model), generation_config=generation_config(request, model))
        self._add_prefix(body, request)
        return check_size(_encode(body), self._limits)

    def decode(self, body: bytes, *, model: str) -> ModelReply:
        """Raises ModelBlocked, ModelProtocolError."""
        reading = VertexReading(self._location, model)
        reading.take_document(body)
        return reading.whole()

    def reader(self, *, model: str) -> VertexReading:
        return VertexReading(self._location, model)

    def decode_count(self, body: bytes) -> int:
        """The total of countTokens. Raises ModelProtocolError."""
        try:
            return _decode_count(body).total_tokens
        except UNREADABLE as exc:
            raise ModelProtocolError("the model's token count cannot be understood") from exc

    def _contents(self, request: ModelRequest, model: str) -> msgspec.Raw:
        wires: list[bytes] = []
        for content in request.contents:
            is_own = content.role == "user" or content.model == model
            wires.append(content.wire.get(NAME if is_own else FOREIGN) or self._write(content, is_own=is_own))
        return joined(wires)

    def _add_prefix(self, body: wire.GenerateRequest, request: ModelRequest) -> None:
        if request.system:
            body.system_instruction = wire.Content(role="user", parts=[wire.Part(text=request.system)])
        body.tools = self._tools.raw(request.tools)

    def _write(self, content: Content, *, is_own: bool) -> bytes:
        """The content as the model that made it is told it, or as any other is; kept with it."""
        parts = self._parts(content.parts if is_own else _without_marks(content.parts))
        made = content.wire[NAME if is_own else FOREIGN] = _encode(wire.Content(role=content.role, parts=parts))
        return made

    def _parts(self, parts: Sequence[Part]) -> list[wire.Part]:
        """The first call of a step carries the signature; an empty content is sent as empty text."""
        made: list[wire.Part] = []
        unsigned = True
        for part in parts:
            if isinstance(part, Text):
                made.append(wire.Part(text=part.text, thought=part.thought, thought_signature=part.signature))
            elif isinstance(part, ToolCall):
                signature = part.signature or (SKIP_SIGNATURE if unsigned else None)
                unsigned = False
                call = wire.FunctionCall(name=part.name, args=part.arguments, id=part.id)
                made.append(wire.Part(function_call=call, thought_signature=signature))
            elif isinstance(part, ToolResult):
                response = wire.FunctionResponse(name=part.name, response=part.response, id=part.id)
                made.append(wire.Part(function_response=response))
            else:
                check(part, self._limits)
                made.append(_media_part(part))
        return made or [wire.Part(text="")]


def _without_marks(parts: Sequence[Part]) -> list[Part]:
    """The parts without what only the model that made them can read."""
    kept: list[Part] = []
    for part in parts:
        if isinstance(part, Text):
            if not part.thought:
                kept.append(Text(text=part.text) if part.signature else part)
        elif isinstance(part, ToolCall) and part.signature:
            kept.append(ToolCall(name=part.name, arguments=part.arguments, id=part.id))
        else:
            kept.append(part)
    return kept


def _media_part(media: Media) -> wire.Part:
    if media.uri is not None:
        return wire.Part(file_data=wire.FileData(media.mime_type, media.uri))
    return wire.Part(inline_data=wire.Blob(media.mime_type, media.data or b""))


def encode_tools(tools: Sequence[ToolDeclaration]) -> bytes:
    """The array that `tools` is in a request."""
    declared = [wire.FunctionDeclaration(tool.name, tool.description, tool.parameters) for tool in tools]
    return _encode([{"functionDeclarations": declared}])
