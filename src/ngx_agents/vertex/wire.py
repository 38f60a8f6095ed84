"""The parts of the two wire formats that are read or written, as typed records.

Unknown fields are ignored and enums are plain strings, so that a new value on their side never breaks a reply.
"""

from __future__ import annotations

from typing import Any

import msgspec


class FunctionCall(msgspec.Struct, omit_defaults=True):
    name: str = ""
    args: dict[str, Any] | None = None
    id: str | None = None


class FunctionResponse(msgspec.Struct, omit_defaults=True):
    name: str
    response: dict[str, Any]
    id: str | None = None


class Part(msgspec.Struct, rename="camel", omit_defaults=True):
    text: str | None = None
    thought: bool = False
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought_signature: str | None = None


class Content(msgspec.Struct, omit_defaults=True):
    role: str | None = None
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0


class ErrorDetail(msgspec.Struct, rename="camel"):
    reason: str | None = None
    retry_delay: str | None = None


class ErrorBody(msgspec.Struct):
    """`code` is a number at Vertex, a word or null elsewhere; `type` is OpenAI's."""

    code: int | str | None = None
    status: str | None = None
    type: str | None = None
    details: list[ErrorDetail] | None = None


class ErrorReply(msgspec.Struct):
    error: ErrorBody | None = None


class GenerateReply(msgspec.Struct, rename="camel"):
    """A whole reply, or one chunk of a stream, or an error in place of one."""

    candidates: list[Candidate] | None = None
    prompt_feedback: PromptFeedback | None = None
    usage_metadata: UsageMetadata | None = None
    model_version: str | None = None
    error: ErrorBody | None = None


class CountReply(msgspec.Struct, rename="camel"):
    total_tokens: int


class FunctionDeclaration(msgspec.Struct, rename="camel"):
    name: str
    description: str
    parameters_json_schema: dict[str, Any]


class GenerationConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    temperature: float | None = None
    max_output_tokens: int | None = None


class GenerateRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """`contents` and `tools` are arrays already encoded."""

    contents: msgspec.Raw
    system_instruction: Content | None = None
    tools: msgspec.Raw | None = None
    generation_config: GenerationConfig | None = None


# OpenAI's format


class ChatFunction(msgspec.Struct, omit_defaults=True):
    name: str | None = None
    arguments: str | None = None


class ChatToolCall(msgspec.Struct, omit_defaults=True):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: ChatFunction | None = None


class ChatMessage(msgspec.Struct, omit_defaults=True):
    """A message sent or received, or the delta of one. `reasoning_content` is what some servers call thoughts."""

    role: str | None = None
    content: str | None = None
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


class ChatRequest(msgspec.Struct, omit_defaults=True):
    """`messages` and `tools` are arrays already encoded."""

    model: str
    messages: msgspec.Raw
    tools: msgspec.Raw | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
