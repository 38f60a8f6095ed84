"""The parts of Vertex's format that are read or written, as typed records.

Unknown fields are ignored and enums are plain strings, so that a new value on their side never breaks a reply.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.dialects.error_wire import ErrorBody


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
