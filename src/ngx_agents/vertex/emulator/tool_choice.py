"""When the emulated model calls a tool, which one, and with what arguments.

Mode any always calls; auto calls when the user's words meet the tool's name or description; none never does.
After a tool result the model answers in words, whatever the mode: a loop of calls would test nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from ngx_agents.vertex.emulator.prompt import Call, Prompt, Tool
from ngx_agents.vertex.emulator.structured import Filling

_WORD = re.compile(r"[a-z]{4,}")
_COMMON = frozenset(re.findall(r"\w+", "este esta with from that this para como user what when have your them then"))
NAME_WORD_WEIGHT = 2
CALL_FROM = 2


def choose(prompt: Prompt) -> tuple[Call, ...]:
    """The calls the model makes for this prompt: one, or none."""
    tools = [tool for tool in prompt.tools if not prompt.allowed or tool.name in prompt.allowed]
    if not tools or prompt.mode == "none" or prompt.results:
        return ()
    asked = _words(prompt.user_text)
    best = max(tools, key=lambda tool: _score(tool, asked))
    if prompt.mode == "auto" and _score(best, asked) < CALL_FROM:
        return ()
    return (Call(best.name, arguments_for(best.schema, prompt.user_text)),)


def arguments_for(schema: dict[str, Any], text: str) -> dict[str, Any]:
    """An object that satisfies `schema`, taken from `text`; where fields are required, only those."""
    properties: dict[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or list(properties)
    filling = Filling(schema, text)
    return {name: filling.value(properties.get(name) or {}, 1) for name in required}


def _score(tool: Tool, asked: frozenset[str]) -> int:
    named = _words(tool.name.replace("_", " "))
    return NAME_WORD_WEIGHT * len(asked & named) + len(asked & (_words(tool.description) - named))


def _words(text: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return frozenset(_WORD.findall(plain)) - _COMMON
