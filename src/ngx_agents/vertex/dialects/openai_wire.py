"""The parts of OpenAI's format that are read or written, as typed records.

Unknown fields are ignored and enums are plain strings, so that a new value on their side never breaks a reply.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.dialects.error_wire import ErrorBody


class ChatFunction(msgspec.Struct, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class ChatToolCall(msgspec.Struct, omit_defaults=True):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatFunction | None = None


class ImageUrl(msgspec.Struct):
    url: str


class ChatFile(msgspec.Struct):
    filename: str
    file_data: str


class ChatPart(msgspec.Struct, omit_defaults=True):
    type: str = ""
    text: str | None = None
    image_url: ImageUrl | None = None
    file: ChatFile | None = None


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """A message sent or received, or the delta of one. `reasoning_content` is what some servers call thoughts."""

    role: str | None = None
    content: str | list[ChatPart] | None = None
    reasoning_content: str | None = None
    tool_calls: list[ChatToolCall] | None = None
    tool_call_id: str | None = None


class ChatChoice(msgspec.Struct):
    message: ChatMessage | None = None
    delta: ChatMessage | None = None
    finish_reason: str | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class ChatUsage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None


class ChatReply(msgspec.Struct):
    """A whole completion, or one chunk of a stream, or an error in place of one."""

    choices: list[ChatChoice] | None = None
    usage: ChatUsage | None = None
    model: str | None = None
    error: ErrorBody | None = None


class StreamOptions(msgspec.Struct):
    include_usage: bool = True


class JsonSchema(msgspec.Struct):
    schema: dict[str, Any]
    name: str = "answer"


class ResponseFormat(msgspec.Struct):
    json_schema: JsonSchema
    type: str = "json_schema"


class ChatRequest(msgspec.Struct, omit_defaults=True):
    """`messages` and `tools` are arrays already encoded."""

    model: str
    messages: msgspec.Raw
    tools: msgspec.Raw | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    tool_choice: str | dict[str, Any] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
