"""The parts of Vertex's format that are read or written, as typed records.

Unknown fields are ignored and enums are plain strings, so that a new value on their side never breaks a reply.
Bytes are base64 on the wire, both ways.
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


class Blob(msgspec.Struct, rename="camel"):
    mime_type: str
    data: bytes


class FileData(msgspec.Struct, rename="camel"):
    mime_type: str
    file_uri: str


class Part(msgspec.Struct, rename="camel", omit_defaults=True):
    text: str | None = None
    thought: bool = False
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None
    thought_signature: str | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None


class Content(msgspec.Struct, omit_defaults=True):
    role: str | None = None
    parts: list[Part] | None = None


class Candidate(msgspec.Struct, rename="camel"):
    content: Content | None = None
    finish_reason: str | None = None
    citation_metadata: dict[str, Any] | None = None
    grounding_metadata: dict[str, Any] | None = None
    url_context_metadata: dict[str, Any] | None = None


class PromptFeedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class ModalityTokenCount(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class UsageMetadata(msgspec.Struct, rename="camel"):
    prompt_token_count: int = 0
    candidates_token_count: int = 0
    thoughts_token_count: int = 0
    cached_content_token_count: int = 0
    tool_use_prompt_token_count: int = 0
    traffic_type: str | None = None
    prompt_tokens_details: list[ModalityTokenCount] | None = None
    candidates_tokens_details: list[ModalityTokenCount] | None = None


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


class ThinkingConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class GenerationConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    temperature: float | None = None
    max_output_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    response_mime_type: str | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: ThinkingConfig | None = None


class FunctionCallingConfig(msgspec.Struct, rename="camel", omit_defaults=True):
    mode: str
    allowed_function_names: tuple[str, ...] = ()


class ToolConfig(msgspec.Struct, rename="camel"):
    function_calling_config: FunctionCallingConfig


class SafetySetting(msgspec.Struct):
    category: str
    threshold: str


class GenerateRequest(msgspec.Struct, rename="camel", omit_defaults=True):
    """`contents` and `tools` are arrays already encoded."""

    contents: msgspec.Raw
    system_instruction: Content | None = None
    tools: msgspec.Raw | None = None
    generation_config: GenerationConfig | None = None
    tool_config: ToolConfig | None = None
    safety_settings: list[SafetySetting] | None = None
    cached_content: str | None = None
    labels: dict[str, str] | None = None  # last, so that what is compared with the body can leave it out


class CachedContent(msgspec.Struct, rename="camel", omit_defaults=True):
    """A prefix to be kept at the provider. `tools` is an array already encoded, `ttl` seconds such as `600s`."""

    model: str
    ttl: str
    display_name: str | None = None
    system_instruction: Content | None = None
    tools: msgspec.Raw | None = None
    tool_config: ToolConfig | None = None


class CachedContentUsage(msgspec.Struct, rename="camel"):
    total_token_count: int = 0


class CachedContentReply(msgspec.Struct, rename="camel"):
    """What creating or renewing answers. `expire_time` is RFC 3339."""

    name: str
    model: str = ""
    display_name: str = ""
    expire_time: str | None = None
    usage_metadata: CachedContentUsage | None = None


class CachedContentPage(msgspec.Struct, rename="camel"):
    cached_contents: list[CachedContentReply] = []
