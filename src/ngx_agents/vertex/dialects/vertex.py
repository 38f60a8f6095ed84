"""Vertex's generateContent and streamGenerateContent: requests as joined bytes, replies and streams as neutral content.

A function call's `thoughtSignature` stays with its part, verbatim. A call that has none (made by another provider)
is sent with Vertex's own word for skipping the check, because the model refuses the history otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.errors import ModelProtocolError
from ngx_agents.vertex.content import (
    Content,
    ModelReply,
    ModelRequest,
    Part,
    Text,
    ToolCall,
    ToolDeclaration,
)
from ngx_agents.vertex.dialects import vertex_wire as wire
from ngx_agents.vertex.dialects.dialect import ToolSets, joined
from ngx_agents.vertex.dialects.vertex_reading import VertexReading, decoded

SKIP_SIGNATURE = "skip_thought_signature_validator"
_decode_count = msgspec.json.Decoder(wire.CountReply).decode
_encode = msgspec.json.Encoder().encode


class VertexDialect:
    """`location` is what replies are signed with."""

    name = "vertex"

    def __init__(self, location: str) -> None:
        self._location = location
        self._tools = ToolSets(_encode_tools)

    def encode(self, request: ModelRequest, *, model: str, streams: bool) -> bytes:
        """The body; `model` and `streams` stand in the path."""
        config = None
        if request.temperature is not None or request.max_output_tokens is not None:
            config = wire.GenerationConfig(request.temperature, request.max_output_tokens)
        system = None
        if request.system:
            system = wire.Content(role="user", parts=[wire.Part(text=request.system)])
        contents = joined([_wire_of(content) for content in request.contents])
        return _encode(wire.GenerateRequest(contents, system, self._tools.raw(request.tools), config))

    def decode(self, body: bytes, *, model: str) -> ModelReply:
        """Raises ModelBlocked, ModelProtocolError."""
        reading = VertexReading(self._location, model)
        reading.take(decoded(body))
        return reading.whole()

    def reader(self, *, model: str) -> VertexReading:
        return VertexReading(self._location, model)

    def decode_count(self, body: bytes) -> int:
        """The total of countTokens. Raises ModelProtocolError."""
        try:
            return _decode_count(body).total_tokens
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise ModelProtocolError("the model's token count cannot be understood") from exc


def _wire_of(content: Content) -> bytes:
    made = content.wire.get("vertex")
    if made is None:
        made = content.wire["vertex"] = _encode(wire.Content(role=content.role, parts=_wire_parts(content.parts)))
    return made


def _wire_parts(parts: Sequence[Part]) -> list[wire.Part]:
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
        else:
            response = wire.FunctionResponse(name=part.name, response=part.response, id=part.id)
            made.append(wire.Part(function_response=response))
    return made or [wire.Part(text="")]


def _encode_tools(tools: Sequence[ToolDeclaration]) -> bytes:
    declared = [wire.FunctionDeclaration(tool.name, tool.description, tool.parameters) for tool in tools]
    return _encode([{"functionDeclarations": declared}])
