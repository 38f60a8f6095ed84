"""What OpenAI's chat completion clients send and expect. Source: the OpenAI API reference, chat completions.

Read leniently, because clients send many settings that a team of agents has no use for (temperature, stop, …); what
would change the meaning of the answer (tools, several choices, sound) is refused by `openai_intake`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ImageUrl(Struct, frozen=True, kw_only=True):
    """A `data:` URL."""

    url: str


class ContentPart(Struct, frozen=True, kw_only=True):
    """Parts of type `text` and `image_url` are understood."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    """`system` and `developer` messages are accepted and not used: the team has its own instructions."""

    role: Role
    content: str | list[ContentPart] | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    include_usage: bool | None = None


class ChatMetadata(Struct, frozen=True, kw_only=True):
    """`conversation_id` continues a conversation held here; then only the last message is read."""

    conversation_id: str | None = None


class ChatBody(Struct, frozen=True, kw_only=True):
    """`model` is the id of an agent, or `ngx` for the router's choice. The last message is the user's turn."""

    model: Annotated[str, Meta(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=1000)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    metadata: ChatMetadata | None = None
    n: int | None = None
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None


class ChatUsage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class ChatReplyMessage(Struct, frozen=True, kw_only=True):
    content: str
    role: Literal["assistant"] = "assistant"
    refusal: str | None = None


class ChatChoice(Struct, frozen=True, kw_only=True):
    message: ChatReplyMessage
    index: int = 0
    finish_reason: Literal["stop"] = "stop"
    logprobs: None = None


class TurnNote(Struct, frozen=True, kw_only=True):
    """Our own addition: where the answer came from, which a client may ignore."""

    turn_id: str
    conversation_id: str
    source: str | None = None
    rung: str | None = None
    model: str | None = None
    location: str | None = None
    degraded: bool = False
    agents: tuple[str, ...] = ()


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer. `model` is what was asked for; `ngx` tells what answered."""

    id: str
    created: int
    model: str
    choices: tuple[ChatChoice, ...]
    usage: ChatUsage
    ngx: TurnNote
    object: Literal["chat.completion"] = "chat.completion"


class ChatDelta(Struct, frozen=True, kw_only=True):
    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True, kw_only=True):
    delta: ChatDelta
    index: int = 0
    finish_reason: Literal["stop"] | None = None
    logprobs: None = None


class ChatChunk(Struct, frozen=True, kw_only=True):
    """One event of a stream; the last one before `[DONE]` carries `usage` when it was asked for."""

    id: str
    created: int
    model: str
    choices: tuple[ChunkChoice, ...]
    usage: ChatUsage | UnsetType | None = UNSET
    ngx: TurnNote | UnsetType = UNSET
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"


class ModelCard(Struct, frozen=True, kw_only=True):
    id: str
    created: int = 0
    owned_by: str = "ngx"
    object: Literal["model"] = "model"


class ModelList(Struct, frozen=True, kw_only=True):
    data: tuple[ModelCard, ...]
    object: Literal["list"] = "list"


def chat_usage(usage: dict[str, int]) -> ChatUsage:
    """A turn's tokens in OpenAI's words: reasoning is part of the completion there."""
    prompt = usage.get("input_tokens", 0)
    completion = usage.get("output_tokens", 0) + usage.get("thought_tokens", 0)
    return ChatUsage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion)
