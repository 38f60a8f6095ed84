"""What was asked and what is answered, in no surface's words: read into `Prompt`, written from `Answer`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ngx_agents.vertex.emulator.generation import Config

ToolMode = Literal["auto", "any", "none"]
_PLAIN = Config()


class Tool(msgspec.Struct, frozen=True):
    name: str
    description: str
    schema: dict[str, Any]


class Result(msgspec.Struct, frozen=True):
    """What a tool returned, as the caller sent it back."""

    name: str
    response: Any


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """`results` are the tool results after the last words of the user. `tokens` counts the whole prompt.

    `details` and `cached` are its tokens by modality, all of them and those that a cached content holds. `begun` is
    the model's own unfinished answer at the end of the contents, which it continues.
    """

    model: str
    user_text: str
    begun: str = ""
    results: tuple[Result, ...] = ()
    tools: tuple[Tool, ...] = ()
    mode: ToolMode = "auto"
    allowed: frozenset[str] = frozenset()
    max_output_tokens: int | None = None
    wants_thoughts: bool = False
    tokens: int = 0
    details: dict[str, int] = {}
    cached: dict[str, int] = {}
    config: Config = _PLAIN
    tier: str = ""
    is_grounded: bool = False


class Call(msgspec.Struct, frozen=True):
    name: str
    arguments: dict[str, Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """`pieces` joined are the text. `finish` is Vertex's word. `blocked`: the prompt was refused.

    `others` are the texts of the candidates after the first; `queries` what was searched for, if anything.
    """

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
    traffic: str = "ON_DEMAND"
    details: dict[str, int] = {}
    cached: dict[str, int] = {}
    others: tuple[str, ...] = ()
    queries: tuple[str, ...] = ()


def tokens_of(characters: int) -> int:
    """Tokens that so many characters make, at the usual four to one; at least 1."""
    return max(1, (characters + 3) // 4)
