from __future__ import annotations

import json
from typing import Any

import pytest

from ngx_agents.errors import ModelRequestError
from ngx_agents.vertex.controls import SafetySetting, Thinking
from ngx_agents.vertex.dialects.vertex import VertexDialect
from tests.vertex.conftest import WEIGHT_TOOL, ask

SCHEMA = {"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]}
DIALECT = VertexDialect("global")


def encoded(model: str = "gemini-3.8-flash", **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(ask(**fields), model=model, streams=False))
    body.pop("contents")
    return body


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"response_schema": SCHEMA}, {"responseMimeType": "application/json", "responseJsonSchema": SCHEMA}),
        ({"response_schema": {}}, {"responseMimeType": "application/json", "responseJsonSchema": {}}),
        ({"top_p": 0.5}, {"topP": 0.5}),
        ({"top_k": 7}, {"topK": 7}),
        ({"seed": 0}, {"seed": 0}),
        ({"stop_sequences": ("FIN", "END")}, {"stopSequences": ["FIN", "END"]}),
    ],
)
def test_field_stands_in_the_generation_config(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert encoded(**fields) == {"generationConfig": expected}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"mode": "AUTO"}),
        ("any", {"mode": "ANY"}),
        ("none", {"mode": "NONE"}),
        (("log_weight",), {"mode": "ANY", "allowedFunctionNames": ["log_weight"]}),
    ],
)
def test_tool_choice_is_a_mode_and_names(choice: Any, expected: dict[str, Any]) -> None:
    body = encoded(tools=(WEIGHT_TOOL,), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": expected}


@pytest.mark.parametrize("choice", ["any", ("log_weight",)])
def test_call_that_no_tool_could_answer_is_refused(choice: Any) -> None:
    with pytest.raises(ModelRequestError):
        encoded(tool_choice=choice)


@pytest.mark.parametrize("choice", [("unknown",), ("log_weight", "unknown"), ()])
def test_choice_of_undeclared_tools_is_refused(choice: Any) -> None:
    with pytest.raises(ModelRequestError):
        encoded(tools=(WEIGHT_TOOL,), tool_choice=choice)


@pytest.mark.parametrize("choice", ["auto", "none"])
def test_choice_that_forces_nothing_is_left_out_without_tools(choice: Any) -> None:
    assert encoded(tool_choice=choice) == {}


def test_safety_settings_have_googles_names() -> None:
    given = (SafetySetting("dangerous_content", "only_high"), SafetySetting("harassment", "off"))
    more = (SafetySetting("hate_speech", "none"), SafetySetting("sexually_explicit", "low_and_above"))
    assert encoded(safety=given + more) == {
        "safetySettings": [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "threshold": "BLOCK_ONLY_HIGH"},
            {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"},
            {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"},
            {"category": "HARM_CATEGORY_SEXUALLY_EXPLICIT", "threshold": "BLOCK_LOW_AND_ABOVE"},
        ]
    }


def test_labels_are_sent_as_they_are() -> None:
    assert encoded(labels={"team": "coach-1"}) == {"labels": {"team": "coach-1"}}


@pytest.mark.parametrize(
    "labels", [{"Team": "x"}, {"": "x"}, {"a": "Señor"}, {"a": "x" * 64}, {f"k{n}": "" for n in range(65)}]
)
def test_labels_that_billing_cannot_take_are_refused(labels: dict[str, str]) -> None:
    with pytest.raises(ModelRequestError):
        encoded(labels=labels)


def test_too_many_stop_sequences_are_refused() -> None:
    with pytest.raises(ModelRequestError):
        encoded(stop_sequences=("a", "b", "c", "d", "e", "f"))


BOTH = Thinking(level="low", budget_tokens=512)
LEVEL, BUDGET = {"thinkingLevel": "LOW"}, {"thinkingBudget": 512}


@pytest.mark.parametrize(
    ("model", "thinking", "expected"),
    [
        ("gemini-3.8-flash", BOTH, LEVEL),
        ("gemini-3.5-flash-lite", BOTH, LEVEL),
        ("gemini-3.1-pro-preview", BOTH, BUDGET),
        ("gemini-3-flash-preview", BOTH, BUDGET),
        ("gemini-2.5-pro", BOTH, BUDGET),
        ("gemini-4-argon", BOTH, LEVEL),
        ("publishers/google/models/gemini-2.5-pro", BOTH, BUDGET),
        ("endpoints/123", BOTH, LEVEL),
        ("endpoints/123", Thinking(budget_tokens=512), BUDGET),
        ("gemini-3.8-flash", Thinking(budget_tokens=512), BUDGET),
        ("gemini-3.1-pro-preview", Thinking(level="minimal"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-2.5-pro", Thinking(budget_tokens=0), {"thinkingBudget": 0}),
        ("gemini-2.5-pro", Thinking(budget_tokens=-1, include=True), {"includeThoughts": True, "thinkingBudget": -1}),
        ("gemini-4-argon", Thinking(level="high", include=True), {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3.8-flash", Thinking(include=True), {"includeThoughts": True}),
    ],
)
def test_thinking_is_said_as_the_model_takes_it(model: str, thinking: Thinking, expected: dict[str, Any]) -> None:
    assert encoded(model, thinking=thinking) == {"generationConfig": {"thinkingConfig": expected}}


@pytest.mark.parametrize(
    ("model", "thinking"),
    [
        ("gemini-4-argon", Thinking(budget_tokens=512)),
        ("gemini-4-argon", Thinking(level="minimal")),
        ("gemini-2.5-flash", Thinking(level="low")),
        ("gemini-2.5-flash", Thinking(budget_tokens=0, include=True)),
        ("gemini-3.8-flash", Thinking(budget_tokens=-2)),
    ],
)
def test_thinking_that_the_model_rejects_is_refused(model: str, thinking: Thinking) -> None:
    with pytest.raises(ModelRequestError):
        encoded(model, thinking=thinking)


def test_thinking_that_asks_nothing_changes_nothing() -> None:
    assert encoded(thinking=Thinking()) == {}


def test_kept_prefix_takes_the_place_of_system_tools_and_choice() -> None:
    fields: dict[str, Any] = {"system": "s", "tools": (WEIGHT_TOOL,), "tool_choice": "any", "temperature": 0.0}
    body = json.loads(DIALECT.encode(ask(**fields), model="m", streams=True, cached_content="projects/1/c/2"))
    assert body.keys() == {"contents", "generationConfig", "cachedContent"}
    assert body["cachedContent"] == "projects/1/c/2"


def test_count_leaves_out_what_is_not_counted() -> None:
    request = ask(
        tools=(WEIGHT_TOOL,), tool_choice="any", labels={"a": "b"}, safety=(SafetySetting("jailbreak", "off"),)
    )
    body = json.loads(DIALECT.encode_count(request, model="m"))
    assert body.keys() == {"contents", "tools"}
