from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from ngx_agents.errors import ModelProtocolError, ModelRequestError
from ngx_agents.vertex.content import Content, Media, Text, ToolCall, ToolDeclaration
from ngx_agents.vertex.controls import SafetySetting, Thinking
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.media import MediaLimits
from tests.vertex.conftest import WEIGHT_TOOL, ask, user

PNG = b"\x89PNG\r\n\x1a\n...."
PDF = b"%PDF-1.7\n"
DIALECT = OpenAIDialect()


def encoded(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(ask(**fields), model="m", streams=False))
    return body


def settings(**fields: Any) -> dict[str, Any]:
    body = encoded(**fields)
    return {key: value for key, value in body.items() if key not in ("model", "messages", "tools")}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"response_schema": {"type": "object"}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}},
                }
            },
        ),
        ({"top_p": 0.5}, {"top_p": 0.5}),
        ({"seed": 0}, {"seed": 0}),
        ({"stop_sequences": ("FIN",)}, {"stop": ["FIN"]}),
        ({"thinking": Thinking(level="low", budget_tokens=9)}, {"reasoning_effort": "low"}),
        ({"tools": (WEIGHT_TOOL,), "tool_choice": "auto"}, {"tool_choice": "auto"}),
        ({"tools": (WEIGHT_TOOL,), "tool_choice": "any"}, {"tool_choice": "required"}),
        ({"tools": (WEIGHT_TOOL,), "tool_choice": "none"}, {"tool_choice": "none"}),
        (
            {"tools": (WEIGHT_TOOL,), "tool_choice": ("log_weight",)},
            {"tool_choice": {"type": "function", "function": {"name": "log_weight"}}},
        ),
    ],
)
def test_field_has_its_word(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    assert settings(**fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"top_k": 7},
        {"labels": {"a": "b"}},
        {"safety": (SafetySetting("harassment", "off"),)},
        {"thinking": Thinking(budget_tokens=9, include=True)},
    ],
)
def test_hint_without_a_word_is_left_out(fields: dict[str, Any]) -> None:
    assert settings(**fields) == {}


def test_several_allowed_tools_are_the_only_ones_offered() -> None:
    tools = tuple(ToolDeclaration(name=name, description="", parameters={}) for name in "abc")
    body = encoded(tools=tools, tool_choice=("c", "a"))
    assert [tool["function"]["name"] for tool in body["tools"]] == ["a", "c"]
    assert body["tool_choice"] == "required"


def test_undeclared_tool_cannot_be_forced() -> None:
    with pytest.raises(ModelRequestError):
        encoded(tools=(WEIGHT_TOOL,), tool_choice=("other",))


def test_images_and_documents_are_parts_of_the_message() -> None:
    parts = (
        Text(text="Look: "),
        Media(mime_type="image/png", data=PNG),
        Media(mime_type="image/png", uri="https://example.com/a.png"),
        Media(mime_type="application/pdf", data=PDF),
        Media(mime_type="text/plain", data=b"notes"),
    )
    (message,) = encoded(contents=(Content(role="user", parts=parts),))["messages"]
    assert message == {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look: "},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64," + b64encode(PNG).decode()}},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {
                "type": "file",
                "file": {
                    "filename": "document.pdf",
                    "file_data": "data:application/pdf;base64," + b64encode(PDF).decode(),
                },
            },
            {"type": "text", "text": "notes"},
        ],
    }


@pytest.mark.parametrize(
    "media",
    [
        Media(mime_type="image/png", uri="gs://b/o.png"),
        Media(mime_type="application/pdf", uri="https://example.com/a.pdf"),
        Media(mime_type="image/png", data=PDF),
    ],
)
def test_media_that_cannot_be_told_is_refused(media: Media) -> None:
    with pytest.raises(ModelRequestError):
        encoded(contents=(Content(role="user", parts=(media,)),))


def test_request_larger_than_its_bound_is_refused() -> None:
    with pytest.raises(ModelRequestError):
        OpenAIDialect(limits=MediaLimits(max_request_bytes=50)).encode(ask("a" * 50), model="m", streams=False)


def test_signatures_of_other_models_are_not_sent() -> None:
    parts = (Text(text="hi", signature="c2ln"), ToolCall(name="f", arguments={}, signature="c2ln"))
    body = DIALECT.encode(ask(contents=(Content(role="model", parts=parts, model="m"),)), model="m", streams=False)
    assert b"c2ln" not in body


def test_contents_may_end_with_the_beginning_of_the_answer() -> None:
    begun = Content(role="model", parts=(Text(text="Duerme"),))
    assert encoded(contents=(user("q"), begun))["messages"][-1] == {"role": "assistant", "content": "Duerme"}


def test_answer_in_parts_is_read() -> None:
    message = {"content": [{"type": "text", "text": "Hola "}, {"type": "novel"}, {"type": "text", "text": "señor"}]}
    document = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode()
    assert DIALECT.decode(document, model="m").text == "Hola señor"


def test_answer_belongs_to_the_model_that_was_asked() -> None:
    document = b'{"model": "m-001", "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}'
    reply = DIALECT.decode(document, model="m")
    assert (reply.model, reply.content.model) == ("m-001", "m")


def test_web_page_in_place_of_a_stream_is_a_protocol_error() -> None:
    with pytest.raises(ModelProtocolError, match="web page"):
        DIALECT.reader(model="m").feed(b"<html>\n")
