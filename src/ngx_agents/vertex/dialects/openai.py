"""OpenAI's chat completions, as Ollama, vLLM, llama.cpp and many others speak it.

One neutral content may become several messages: every tool result is a message of its own. Calls without an id get
one from their name and place, the same for the call and for its result. Hints the format has no word for (top_k,
safety, labels, a thinking budget) are left out.
"""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.content import (
    Content,
    Media,
    ModelReply,
    ModelRequest,
    Text,
    ToolCall,
    ToolDeclaration,
    ToolResult,
)
from ngx_agents.vertex.controls import ToolChoice
from ngx_agents.vertex.dialects import openai_wire as wire
from ngx_agents.vertex.dialects.dialect import ToolSets, checked_choice, joined
from ngx_agents.vertex.dialects.openai_reading import OpenAIReading, decoded
from ngx_agents.vertex.media import MediaLimits, check, check_size, is_image

_encode = msgspec.json.Encoder().encode


class OpenAIDialect:
    """Stateless but for the encoded tool lists. `limits` bound media and requests."""

    name = "openai"

    def __init__(self, *, limits: MediaLimits | None = None) -> None:
        self._limits = limits or MediaLimits()
        self._tools = ToolSets(_encode_tools)

    def encode(self, request: ModelRequest, *, model: str, streams: bool, cached_content: str | None = None) -> bytes:
        """The body. Nothing is kept at such a provider by name, so `cached_content` changes nothing.

        Raises ModelRequestError.
        """
        messages = [self._wire_of(content) for content in request.contents]
        if request.system:
            messages.insert(0, _encode(wire.ChatMessage(role="system", content=request.system)))
        choice = checked_choice(request)
        body = wire.ChatRequest(
            model=model,
            messages=joined(messages),
            tools=self._offered(request.tools, choice),
            temperature=request.temperature,
            max_tokens=request.max_output_tokens,
            stream=streams,
            stream_options=wire.StreamOptions() if streams else None,
            tool_choice=None if choice is None else _tool_choice(choice),
            top_p=request.top_p,
            seed=request.seed,
            stop=request.stop_sequences,
        )
        if request.response_schema is not None:
            body.response_format = wire.ResponseFormat(wire.JsonSchema(request.response_schema))
        if request.thinking is not None:
            body.reasoning_effort = request.thinking.level
        return check_size(_encode(body), self._limits)

    def decode(self, body: bytes, *, model: str) -> ModelReply:
        """Raises ModelBlocked, ModelProtocolError."""
        reading = OpenAIReading(model)
        reading.take(decoded(body))
        return reading.whole()

    def reader(self, *, model: str) -> OpenAIReading:
        return OpenAIReading(model)

    def _offered(self, tools: tuple[ToolDeclaration, ...], choice: ToolChoice | None) -> msgspec.Raw | None:
        """All tools, or only the several allowed ones: the format can force one name, or any of what is offered."""
        if isinstance(choice, tuple) and len(choice) > 1:
            return msgspec.Raw(_encode_tools([tool for tool in tools if tool.name in choice]))
        return self._tools.raw(tools)

    def _wire_of(self, content: Content) -> bytes:
        """The messages of a content, joined by commas."""
        made = content.wire.get("openai")
        if made is None:
            for part in content.parts:
                if isinstance(part, Media) and content.role == "user":
                    check(part, self._limits)
            made = content.wire["openai"] = b",".join(_encode(message) for message in _messages(content))
        return made


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    if isinstance(choice, tuple):
        return {"type": "function", "function": {"name": choice[0]}} if len(choice) == 1 else "required"
    return "required" if choice == "any" else choice


def _said(content: Content) -> str | list[wire.ChatPart]:
    """Visible text, in parts when there are images or documents in it. An answer's own media cannot go back."""
    if content.role == "model" or not any(isinstance(part, Media) for part in content.parts):
        return content.text
    parts: list[wire.ChatPart] = []
    for part in content.parts:
        if isinstance(part, Text) and not part.thought:
            parts.append(wire.ChatPart(type="text", text=part.text))
        elif isinstance(part, Media):
            parts.append(_media_part(part))
    return parts


def _media_part(media: Media) -> wire.ChatPart:
    """Raises ModelRequestError for an address that only Google can read, or a document that is not inline."""
    data = media.data or b""
    if media.mime_type == "text/plain" and media.uri is None:
        return wire.ChatPart(type="text", text=data.decode())
    if is_image(media) and (media.uri is None or media.uri.startswith("https://")):
        return wire.ChatPart(type="image_url", image_url=wire.ImageUrl(media.uri or _data_url(media.mime_type, data)))
    if media.uri is not None:
        raise ModelRequestError("this model can fetch nothing but images, and these from https:// only")
    return wire.ChatPart(type="file", file=wire.ChatFile("document.pdf", _data_url(media.mime_type, data)))


def _data_url(mime_type: str, data: bytes) -> str:
    return f"data:{mime_type};base64,{b64encode(data).decode()}"


def _messages(content: Content) -> Iterator[wire.ChatMessage]:
    results = [part for part in content.parts if isinstance(part, ToolResult)]
    for result, call_id in zip(results, _ids(results), strict=True):
        text = _encode(result.response).decode()
        yield wire.ChatMessage(role="tool", content=text, tool_call_id=call_id)
    calls = [part for part in content.parts if isinstance(part, ToolCall)]
    said = _said(content)
    if said or calls or not results:
        role = "assistant" if content.role == "model" else "user"
        yield wire.ChatMessage(role=role, content=said, tool_calls=_tool_calls(calls) or None)


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
