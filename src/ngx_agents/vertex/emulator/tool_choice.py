"""When the emulated model calls a tool, which one, and with what arguments.

Mode any always calls; auto calls when the user's words meet the tool's name or description; none never does.
After a tool result the model answers in words, whatever the mode: a loop of calls would test nothing.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from ngx_agents.vertex.emulator.prompt import Call, Prompt, Tool

_WORD = re.compile(r"[a-z]{4,}")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
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
    """An object that satisfies `schema` as far as types, enums and required fields go, taken from `text`."""
    numbers = [float(found) for found in _NUMBER.findall(text)]
    properties: dict[str, Any] = schema.get("properties") or {}
    required = schema.get("required") or list(properties)
    return {name: _value(properties.get(name) or {}, text, numbers) for name in required}


def _value(schema: dict[str, Any], text: str, numbers: list[float]) -> Any:
    if choices := schema.get("enum"):
        lowered = text.lower()
        return next((choice for choice in choices if str(choice).lower() in lowered), choices[0])
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = kind[0]
    kind = str(kind).lower()
    if kind in ("number", "integer"):
        return _number(schema, numbers, whole=kind == "integer")
    if kind == "object":
        return arguments_for(schema, text)
    if kind == "array":
        return [_value(schema.get("items") or {}, text, numbers)]
    return kind == "boolean" or text


def _number(schema: dict[str, Any], numbers: list[float], *, whole: bool) -> float | int:
    low, high = schema.get("minimum"), schema.get("maximum")
    value = numbers.pop(0) if numbers else 1.0
    value = value if low is None else max(value, float(low))
    value = value if high is None else min(value, float(high))
    return int(value) if whole or value == int(value) else value


def _score(tool: Tool, asked: frozenset[str]) -> int:
    named = _words(tool.name.replace("_", " "))
    return NAME_WORD_WEIGHT * len(asked & named) + len(asked & (_words(tool.description) - named))


def _words(text: str) -> frozenset[str]:
    plain = unicodedata.normalize("NFKD", text.lower()).encode("ascii", "ignore").decode()
    return frozenset(_WORD.findall(plain)) - _COMMON
