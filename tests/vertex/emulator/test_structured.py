"""Structured output: whatever the schema, the answer conforms, whole and streamed."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ngx_agents.vertex.emulator.refusal import Refusal
from ngx_agents.vertex.emulator.structured import Filling
from tests.vertex.emulator.wire import Wire, body

NODE: dict[str, Any] = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
            "required": ["name", "next"],
        }
    },
    "$ref": "#/$defs/node",
}
SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"kg": {"type": "number", "minimum": 30, "maximum": 40}}, "required": ["kg"]},
    {
        "type": "array",
        "items": {"type": "integer", "exclusiveMinimum": 5, "multipleOf": 4},
        "minItems": 3,
        "maxItems": 4,
    },
    {"type": "string", "enum": ["red", "green"]},
    {"type": "string", "minLength": 300},
    {"type": "string", "maxLength": 3},
    {"type": "string", "format": "date"},
    {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
    {"type": ["null", "integer"]},
    {"type": "boolean"},
    {"const": {"fixed": 1}},
    {"anyOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]},
    {"oneOf": [{"type": "string", "maxLength": 2}, {"type": "number"}]},
    {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            {"properties": {"b": {"type": "boolean"}}, "required": ["b"]},
        ]
    },
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
    {"properties": {"list": {"items": {"type": "object", "properties": {"x": {"type": "number", "maximum": -1}}}}}},
    NODE,
]


def made(schema: dict[str, Any], text: str = "82.5 kg on monday, green") -> Any:
    return Filling(schema, text).value(schema, 0)


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: json.dumps(schema)[:60])
def test_value_conforms(schema: dict[str, Any]) -> None:
    jsonschema_rs.Draft202012Validator(schema).validate(made(schema))


_LEAVES = st.one_of(
    st.builds(
        lambda low, span: {"type": "integer", "minimum": low, "maximum": low + span},
        st.integers(-1000, 1000),
        st.integers(0, 50),
    ),
    st.builds(lambda low: {"type": "number", "minimum": low}, st.floats(-1e6, 1e6)),
    st.builds(lambda least: {"type": "string", "minLength": least, "maxLength": least + 5}, st.integers(0, 50)),
    st.builds(lambda choices: {"enum": choices}, st.lists(st.integers() | st.text(), min_size=1, max_size=4)),
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
)
_SCHEMAS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds(lambda item, count: {"type": "array", "items": item, "minItems": count}, inner, st.integers(0, 4)),
        st.builds(
            lambda fields: {"type": "object", "properties": fields, "required": list(fields)},
            st.dictionaries(st.text(max_size=6), inner, max_size=4),
        ),
        st.builds(lambda choices: {"anyOf": choices}, st.lists(inner, min_size=1, max_size=3)),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(schema=_SCHEMAS, text=st.text(max_size=40))
def test_value_conforms_to_any_schema(schema: dict[str, Any], text: str) -> None:
    jsonschema_rs.Draft202012Validator(schema).validate(made(schema, text))


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**9},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "^never this one$"},
    ],
    ids=str,
)
def test_schema_that_cannot_be_met_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        made(schema)
    assert refused.value.status == 400


def test_depth_is_bounded() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(200):
        schema = {"type": "object", "properties": {"in": schema}, "required": ["in"]}
    with pytest.raises(Refusal):
        made(schema)


def asked(schema: dict[str, Any], *, name: str, mime: str = "application/json") -> dict[str, Any]:
    return body("green, 82.5 kg", generationConfig={"responseMimeType": mime, name: schema})


OPENAPI = {
    "type": "OBJECT",
    "properties": {"day": {"type": "STRING", "format": "date"}, "kg": {"type": "NUMBER"}},
    "propertyOrdering": ["kg", "day"],
    "required": ["kg"],
}


async def test_answer_conforms_and_keeps_the_order_of_properties(wire: Wire) -> None:
    answer = await wire.generate(asked(OPENAPI, name="responseSchema"))
    assert list(json.loads(answer.text).items()) == [("kg", 82.5), ("day", "2026-11-24")]
    streamed = await wire.stream(asked(OPENAPI, name="responseSchema"))
    assert streamed.text == answer.text
    assert len(streamed.documents()) > 1


async def test_json_schema_is_taken_and_both_spellings(wire: Wire) -> None:
    for name in ("responseJsonSchema", "response_json_schema"):
        answer = await wire.generate(asked(NODE, name=name))
        jsonschema_rs.Draft202012Validator(NODE).validate(json.loads(answer.text))


async def test_enum_answers_with_the_bare_word(wire: Wire) -> None:
    schema = {"type": "STRING", "enum": ["red", "green"]}
    assert (await wire.generate(asked(schema, name="responseSchema", mime="text/x.enum"))).text == "green"


async def test_json_without_a_schema_is_json(wire: Wire) -> None:
    answer = await wire.generate(body("hi", generationConfig={"responseMimeType": "application/json"}))
    assert json.loads(answer.text) == {"answer": "hi"}


async def test_schema_that_cannot_be_met_is_400_on_the_wire(wire: Wire) -> None:
    answer = await wire.generate(asked({"$ref": "#/$defs/x"}, name="responseJsonSchema"))
    assert (answer.status, bool(re.search("does not define", answer.message))) == (400, True)
