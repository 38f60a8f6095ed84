"""What was asked and what is answered, in no surface's words: read into `Prompt`, written from `Answer`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ToolMode = Literal["auto", "any", "none"]


class BadRequestError(Exception):
    """The body is refused with 400; `str(error)` is the message on the wire."""


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str
    schema: dict[str, Any]


class Result(msgspec.Struct, frozen=True):
    """What a tool returned, as the caller sent it back."""

    name: str
    response: Any


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """`results` are the tool results after the last words of the user. `tokens` counts the whole prompt."""

    model: str
    user_text: str
    results: tuple[Result, ...] = ()
    tools: tuple[Tool, ...] = ()
    mode: ToolMode = "auto"
    allowed: frozenset[str] = frozenset()
    max_output_tokens: int | None = None
    wants_thoughts: bool = False
    tokens: int = 0
    digest: int = 0


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`pieces` joined are the text. `finish` is Vertex's word. `blocked`: the prompt was refused."""

    model: str
    id: str
    pieces: tuple[str, ...] = ()
    thought: str | None = None
    calls: tuple[Call, ...] = ()
    finish: str = "STOP"
    blocked: bool = False
    prompt_tokens: int = 0
    output_tokens: int = 0
    thought_tokens: int = 0
    usage_apart: bool = False


def tokens_of(characters: int) -> int:
    """Tokens that so many characters make, at the usual four to one; at least 1."""
    return max(1, (characters + 3) // 4)
