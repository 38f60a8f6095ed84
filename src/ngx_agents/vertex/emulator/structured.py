"""Structured output: a value that conforms to a schema, filled from the words and numbers of the prompt.

Reads the OpenAPI dialect of `responseSchema` and JSON Schema alike: type, enum, const, nullable, anyOf, oneOf, allOf,
$ref, properties, required, items, prefixItems, bounds of numbers, lengths and counts, multipleOf, format. A `pattern`
is met by one of a few usual forms, or refused with 400, as the service refuses what it cannot constrain.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import msgspec

from ngx_agents.vertex.emulator.refusal import Refusal

if TYPE_CHECKING:
    from ngx_agents.vertex.emulator.generation import Config

MAX_DEPTH = 24
OPTIONAL_DEPTH = 6
MAX_ITEMS = 1000
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_CONSTANTS = {"boolean": True, "null": None}
_FORMATS = {
    "date": "2026-11-24",
    "date-time": "2026-11-24T08:00:00Z",
    "time": "08:00:00Z",
    "duration": "PT30M",
    "email": "someone@example.com",
    "uuid": "3f2b8c1e-7d4a-4c55-9a10-0c6f3e2d1b00",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "example.com",
}
_USUAL = (
    *_FORMATS.values(),
    "a",
    "A",
    "abc",
    "ABC",
    "1",
    "12",
    "123",
    "1234",
    "12345",
    "08:30",
    "A1",
    "AB-123",
    "+34600000000",
)


def text_of(config: Config, user_text: str) -> str:
    """The document that `responseMimeType` and the schema ask for. Raises Refusal."""
    if config.schema is None:
        return msgspec.json.encode({"answer": user_text}).decode()
    value = Filling(config.schema, user_text).value(config.schema, 0)
    return str(value) if config.mime == "text/x.enum" else msgspec.json.encode(value).decode()


class Filling:
    """One value being made from `text`; its numbers are used up in order."""

    def __init__(self, root: dict[str, Any], text: str) -> None:
        self._root = root
        self._text = text
        self._numbers = [float(found) for found in _NUMBER.findall(text)]

    def value(self, schema: Any, depth: int) -> Any:
        """A value for `schema`. Raises Refusal when it nests too deep or cannot be met."""
        if depth > MAX_DEPTH:
            raise Refusal(400, "The response schema exceeds the maximum allowed nesting depth.")
        schema = self._resolved(schema, depth)
        if "const" in schema:
            return schema["const"]
        if choices := schema.get("enum"):
            lowered = self._text.lower()
            return next((choice for choice in choices if str(choice).lower() in lowered), choices[0])
        match _kind(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "number" | "integer" as number:
                return self._number(schema, whole=number == "integer")
            case _:
                return _CONSTANTS[kind] if (kind := _kind(schema)) in _CONSTANTS else self._string(schema)

    def _resolved(self, schema: Any, depth: int) -> dict[str, Any]:
        """The schema with its references followed, the first alternative taken, `allOf` merged."""
        for _ in range(MAX_DEPTH):
            if not isinstance(schema, dict):
                return {}
            if isinstance(ref := schema.get("$ref") or schema.get("ref"), str):
                schema = {**self._referred(ref), **{key: schema[key] for key in schema if key not in ("$ref", "ref")}}
            elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
                rest = {key: schema[key] for key in schema if key not in ("anyOf", "oneOf")}
                schema = {**rest, **self._alternative(alternatives, depth)}
            elif merged := schema.get("allOf"):
                schema = self._merged({key: schema[key] for key in schema if key != "allOf"}, merged, depth)
            else:
                return schema
        raise Refusal(400, "The response schema refers to itself without end.")

    def _alternative(self, alternatives: list[Any], depth: int) -> dict[str, Any]:
        """The first that is not null; deep inside, null where it is allowed, so that recursion ends."""
        schemas = [each for each in alternatives if isinstance(each, dict)] or [{}]
        nulls = [each for each in schemas if _kind(each) == "null"]
        if nulls and depth >= OPTIONAL_DEPTH:
            return nulls[0]
        return next((each for each in schemas if _kind(each) != "null"), schemas[0])

    def _merged(self, schema: dict[str, Any], parts: list[Any], depth: int) -> dict[str, Any]:
        for part in parts:
            part = self._resolved(part, depth + 1)
            properties = {**(schema.get("properties") or {}), **(part.get("properties") or {})}
            required = [*(schema.get("required") or ()), *(part.get("required") or ())]
            schema = {**schema, **part, "properties": properties, "required": required}
        return schema

    def _referred(self, ref: str) -> dict[str, Any]:
        found: Any = self._root
        for step in ref.removeprefix("#").strip("/").split("/") if ref.strip("#/") else ():
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise Refusal(400, f"The response schema refers to {ref}, which it does not define.")
        return found

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties: dict[str, Any] = schema.get("properties") or {}
        required = schema.get("required") or ()
        names = list(schema.get("propertyOrdering") or ()) + list(properties)
        if depth >= OPTIONAL_DEPTH:
            names = []
        wanted = dict.fromkeys([*(name for name in names if name in properties), *required])
        return {name: self.value(properties.get(name) or {}, depth + 1) for name in wanted}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        first = [self.value(each, depth + 1) for each in schema.get("prefixItems") or ()]
        least = _bound(schema, "minItems", 0)
        count = max(least, 0 if depth >= OPTIONAL_DEPTH or first else min(1, _bound(schema, "maxItems", 1)))
        if count > MAX_ITEMS:
            raise Refusal(400, f"The response schema asks for more than {MAX_ITEMS} items.")
        return first + [self.value(schema.get("items") or {}, depth + 1) for _ in range(count - len(first))]

    def _number(self, schema: dict[str, Any], *, whole: bool) -> float | int:
        low, high = _range(schema, whole=whole)
        value = min(max(self._numbers.pop(0) if self._numbers else 1.0, low), high)
        step = float(schema.get("multipleOf") or (1 if whole else 0))
        if step > 0:
            value = math.floor(value / step) * step
            value = value if value >= low else value + step
        return int(value) if whole or value == int(value) else value

    def _string(self, schema: dict[str, Any]) -> str:
        text = _FORMATS.get(str(schema.get("format")), self._text)
        if isinstance(pattern := schema.get("pattern"), str):
            text = _matching(pattern)
        least, most = _bound(schema, "minLength", 0), _bound(schema, "maxLength", 10_000)
        return (text if len(text) >= least else text.ljust(min(least, 10_000), "."))[:most]


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((each for each in kind if str(each).lower() != "null"), "null")
    if kind is None:
        kind = (
            "object"
            if "properties" in schema
            else "array"
            if "items" in schema or "prefixItems" in schema
            else "string"
        )
    return str(kind).lower()


def _range(schema: dict[str, Any], *, whole: bool) -> tuple[float, float]:
    """The least and the greatest value, both allowed."""
    low = float(schema.get("minimum", -math.inf))
    high = float(schema.get("maximum", math.inf))
    gap = 1.0 if whole else 1e-6
    if isinstance(above := schema.get("exclusiveMinimum"), int | float) and not isinstance(above, bool):
        low = max(low, above + gap)
    if isinstance(below := schema.get("exclusiveMaximum"), int | float) and not isinstance(below, bool):
        high = min(high, below - gap)
    return (math.ceil(low), math.floor(high)) if whole and math.isfinite(low) and math.isfinite(high) else (low, high)


def _bound(schema: dict[str, Any], name: str, default: int) -> int:
    """A count of the schema; the OpenAPI dialect writes int64 as text."""
    return int(schema.get(name, default))


def _matching(pattern: str) -> str:
    """A usual form that the pattern accepts. The forms are short: a pattern that backtracks stays cheap."""
    try:
        usual = next((each for each in _USUAL if re.search(pattern, each)), None) if len(pattern) <= 256 else None
    except re.error as exc:
        raise Refusal(400, f"The response schema has an invalid pattern: {pattern[:80]}") from exc
    if usual is None:
        raise Refusal(400, f"The response schema has a pattern that is not supported: {pattern[:80]}")
    return usual
