"""Reading JSON objects as Google's front end does: both spellings of a name, unknown names and wrong types refused."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ngx_agents.vertex.emulator.refusal import Refusal

_UNREADABLE = "Invalid JSON payload received."


def names(text: str) -> frozenset[str]:
    """The words of `text`, as a set of names."""
    return frozenset(text.split())


def parse(body: bytes) -> dict[str, Any]:
    """The JSON object of a body. Raises Refusal."""
    try:
        doc = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise Refusal(400, f"{_UNREADABLE} {exc}") from exc
    if not isinstance(doc, dict):
        raise Refusal(400, f"{_UNREADABLE} Root element must be a message.")
    return doc


def known(doc: Any, allowed: frozenset[str], where: str = "") -> dict[str, Any]:
    """`doc` with lowerCamelCase names. Raises Refusal: no object, or a name that is not in `allowed`."""
    if not isinstance(doc, dict):
        raise wrong(where or "root", doc)
    if doc.keys() <= allowed:
        return doc
    fixed = {camel(name): value for name, value in doc.items()}
    unknown = [name for name in doc if camel(name) not in allowed]
    if unknown:
        place = f" at '{where}'" if where else ""
        texts = [f'{_UNREADABLE} Unknown name "{name}"{place}: Cannot find field.' for name in unknown[:8]]
        raise Refusal(400, "\n".join(texts), fields=tuple((where, text) for text in texts))
    return fixed


def get(doc: dict[str, Any], name: str) -> Any:
    """The value of a lowerCamelCase name, or of the same name in snake_case."""
    value = doc.get(name)
    return doc.get(snake(name)) if value is None else value


def listed(doc: dict[str, Any], name: str, where: str = "") -> list[Any]:
    """A repeated field: absent is empty, and one object stands for a list of it. Raises Refusal."""
    value = doc.get(name)
    if value is None:
        return []
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise wrong(f"{where}{snake(name)}", value)
    return value


def text(doc: dict[str, Any], name: str, where: str = "") -> str:
    """A string field; absent is empty. Raises Refusal."""
    value = doc.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(f"{where}{snake(name)}", value)
    return value


def chosen(value: Any, values: frozenset[str], where: str) -> str:
    """An enum's value in capitals; a number (the wire's other form) is let through as text. Raises Refusal."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or value.upper() not in values:
        raise wrong(where, value)
    return value.upper()


def wrong(where: str, value: Any) -> Refusal:
    """The refusal of a value of the wrong type or range."""
    shown = msgspec.json.encode(value).decode()[:80]
    message = f"Invalid value at '{where}', {shown}"
    return Refusal(400, message, fields=((where, message),))


@lru_cache(maxsize=1024)
def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest) if first else name


@lru_cache(maxsize=1024)
def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
