"""What is said to and by a model, in no provider's words.

A conversation is a sequence of `Content`. Each content keeps, beside itself, the wire bytes that a dialect made of it
(`wire`), so that a prompt is a join of bytes and its cost does not grow with objects rebuilt on every call.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ngx_agents.vertex.controls import SafetySetting, Thinking, ToolChoice
from ngx_agents.vertex.ladder.residency import Residency
from ngx_agents.vertex.scope import CacheRule, Scope

Role = Literal["user", "model"]


class Text(msgspec.Struct, frozen=True, kw_only=True, tag="text", omit_defaults=True):
    """`thought` marks the model's own reasoning: carried along, never shown. `signature` belongs to this very part."""

    text: str
    thought: bool = False
    signature: str | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True, tag="call", omit_defaults=True):
    """The model asks for a tool. `arguments` is a JSON object. `signature` is base64 and goes back verbatim."""

    name: str
    arguments: dict[str, Any]
    id: str | None = None
    signature: str | None = None


class ToolResult(msgspec.Struct, frozen=True, kw_only=True, tag="result", omit_defaults=True):
    """What the tool answered; `response` is a JSON object. `id` is the call's."""

    name: str
    response: dict[str, Any]
    id: str | None = None


class Media(msgspec.Struct, frozen=True, kw_only=True, tag="media", omit_defaults=True):
    """An image or a document: `data`, or a `gs://` or `https://` address in `uri`. `media.check` has the bounds."""

    mime_type: str
    data: bytes | None = None
    uri: str | None = None

    def __repr__(self) -> str:  # type: ignore[explicit-override]  # typing.override is of 3.12
        return f"Media(mime_type={self.mime_type!r}, size_bytes={len(self.data or b'')})"


Part = Text | ToolCall | ToolResult | Media


class Content(msgspec.Struct, kw_only=True):
    """One message. Never changed once made; `wire` maps a dialect's name to the bytes it made (filled on first use).

    `model` is the model that was asked for it: signatures and thoughts go back to that model and to no other.
    """

    role: Role
    parts: tuple[Part, ...]
    wire: dict[str, bytes] = msgspec.field(default_factory=dict)
    model: str | None = None

    @property
    def text(self) -> str:
        """The visible text: thoughts and tool traffic left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text) and not part.thought)


class ToolDeclaration(msgspec.Struct, frozen=True, kw_only=True):
    """`parameters` is a JSON Schema object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModalityTokens(msgspec.Struct, frozen=True):
    """`modality` is the provider's word, lower case: text, image, document, or one not heard of yet."""

    modality: str
    tokens: int


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Tokens. `cached_tokens` and `tool_tokens` (what built-in tools put into the prompt) are part of the input;
    `thought_tokens` come beside the output and are paid like it. The details split input and output by modality.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0
    cached_tokens: int = 0
    tool_tokens: int = 0
    input_details: tuple[ModalityTokens, ...] = ()
    output_details: tuple[ModalityTokens, ...] = ()

    @property
    def total_tokens(self) -> int:
        """All that is paid for."""
        return self.input_tokens + self.output_tokens + self.thought_tokens

    def plus(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            thought_tokens=self.thought_tokens + other.thought_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            tool_tokens=self.tool_tokens + other.tool_tokens,
            input_details=_added(self.input_details, other.input_details),
            output_details=_added(self.output_details, other.output_details),
        )


def _added(some: tuple[ModalityTokens, ...], more: tuple[ModalityTokens, ...]) -> tuple[ModalityTokens, ...]:
    if not some or not more:
        return some or more
    sums: dict[str, int] = {}
    for each in (*some, *more):
        sums[each.modality] = sums.get(each.modality, 0) + each.tokens
    return tuple(ModalityTokens(modality, tokens) for modality, tokens in sums.items())


OnCut = Literal["restart", "continue", "stop"]


class ModelRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `deadline_s` is absolute, on the client's monotonic clock. `model` None means the client's default.

    Beside what is said: `cache` None means the answer belongs to nobody but this call. `urgency` is the class of the
    work, 0 critical to 3 batch. `on_cut` says what happens when a stream breaks after text was given out: begin anew
    (a TextReset comes first), go on from what was said, or end with the error. `is_simple` allows the small local
    model to answer. A red flag's answer is never kept. `residency` narrows where the data may go.

    `contents` may end with the beginning of the model's own answer, which it then continues. `response_schema` is a
    JSON Schema that the answer must meet. `tool_choice` any means that a tool must be called, names that one of these
    must. Hints that a provider has no word for (top_k, safety, labels, a thinking budget) are left out there; what it
    cannot do without changing the answer's meaning is a ModelRequestError. `prefix_scope` says whose system and tools
    are, so that they may be kept at the provider; None means that they are not kept. `only_kept`: no model is asked;
    what is not kept is a ModelUnavailable. `by_sentence`: a stream may join the pieces of a sentence, which costs less.
    """

    system: str
    contents: tuple[Content, ...]
    tools: tuple[ToolDeclaration, ...] = ()
    deadline_s: float
    model: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    cache: CacheRule | None = None
    urgency: int = 1
    on_cut: OnCut = "restart"
    is_simple: bool = False
    is_red_flag: bool = False
    residency: Residency | None = None
    response_schema: dict[str, Any] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    safety: tuple[SafetySetting, ...] = ()
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    labels: dict[str, str] | None = None
    prefix_scope: Scope | None = None
    only_kept: bool = False
    by_sentence: bool = False


FinishReason = Literal["stop", "max_tokens", "safety", "malformed_call", "other"]


AnswerSource = Literal["model", "cache", "stale", "local"]


class ModelReply(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `content` holds the parts verbatim, signatures included, ready to be sent back in a next request.

    `provider` is the dialect that answered: `vertex` or `openai`; `location` is empty where there is none. `source`
    and `rung` say honestly where it came from, `traffic_type` what the provider charged it as, `age_s` how long a kept
    answer has lain, `attempts` how many calls were made for it; `is_degraded` that a better rung existed and failed.
    `is_grounded` and `has_citations` mark answers made
    with what was found elsewhere at that time.
    """

    content: Content
    finish_reason: FinishReason
    usage: Usage
    model: str
    location: str
    provider: str
    source: AnswerSource = "model"
    rung: str = "shared"
    traffic_type: str | None = None
    age_s: float = 0.0
    attempts: int = 1
    is_degraded: bool = False
    is_grounded: bool = False
    has_citations: bool = False

    @property
    def text(self) -> str:
        return self.content.text

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        return tuple(part for part in self.content.parts if isinstance(part, ToolCall))

    @property
    def is_empty(self) -> bool:
        """Neither visible text nor a call nor media: an empty stop, thoughts alone, or a malformed call."""
        return not self.text and not any(isinstance(part, ToolCall | Media) for part in self.content.parts)


class TextChunk(msgspec.Struct, frozen=True):
    """A piece of visible text, as it arrived."""

    text: str


class TextReset(msgspec.Struct, frozen=True):
    """All text so far is withdrawn; the answer begins anew. `reason` is the code of the error that broke it."""

    reason: str


class StreamEnd(msgspec.Struct, frozen=True):
    """Always the last event of a stream, and only of a complete one: it carries the whole reply."""

    reply: ModelReply


StreamEvent = TextChunk | TextReset | StreamEnd
