"""OpenAI's chat completions, as Ollama, vLLM, llama.cpp and many others speak it.

One neutral content may become several messages: every tool result is a message of its own. Calls without an id get
one from their name and place, the same for the call and for its result.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ngx_agents.vertex.content import (
    Content,
    ModelReply,
    ModelRequest,
    Text,
    ToolCall,
    ToolDeclaration,
    ToolResult,
)
from ngx_agents.vertex.dialects import openai_wire as wire
from ngx_agents.vertex.dialects.dialect import ToolSets, joined
from ngx_agents.vertex.dialects.openai_reading import OpenAIReading, decoded

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
        reading.take(decoded(body))
        return reading.whole()

    def reader(self, *, model: str) -> OpenAIReading:
        return OpenAIReading(model)


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
