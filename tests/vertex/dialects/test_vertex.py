from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.vertex.conftest import WEIGHT_TOOL, ask, user

from ngx_agents.errors import ModelBlocked, ModelProtocolError, ModelThrottled, ModelUnavailable
from ngx_agents.vertex.content import Content, Text, ToolCall, ToolResult, Usage
from ngx_agents.vertex.dialects.vertex import SKIP_SIGNATURE, VertexDialect
from ngx_agents.vertex.dialects.vertex_reading import FINISH

DIALECT = VertexDialect("global")


def encoded(**fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(ask(**fields), model="m", streams=False))
    return body


def candidate(*parts: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [{**made, "finishReason": finish} if finish else made]}


def sse(*documents: dict[str, Any]) -> bytes:
    return b"".join(
        b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\r\n\r\n" for document in documents
    )


def decoded(document: dict[str, Any]) -> Any:
    return DIALECT.decode(json.dumps(document).encode(), model="asked")


STREAM = sse(
    candidate({"text": "pienso…", "thought": True}),
    candidate({"text": "Hola\u2028"}),
    candidate({"text": "señor 👋"}),
    candidate({"functionCall": {"name": "f", "args": {"a": "ñ"}}, "thoughtSignature": "c2ln"}),
    {**candidate({"text": ""}, finish="STOP"), "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}},
)


@settings(deadline=None)
@given(cuts=st.lists(st.integers(min_value=0, max_value=len(STREAM)), max_size=25))
def test_stream_gives_the_same_reply_wherever_its_chunks_break(cuts: list[int]) -> None:
    reader = DIALECT.reader(model="m")
    texts: list[str] = []
    edges = [0, *sorted(cuts), len(STREAM)]
    for start, end in pairwise(edges):
        texts.extend(reader.feed(STREAM[start:end]))
    reply = reader.finish()
    assert texts == ["Hola\u2028", "señor 👋"]
    assert reply.content.parts == (
        Text(text="pienso…", thought=True),
        Text(text="Hola\u2028señor 👋"),
        ToolCall(name="f", arguments={"a": "ñ"}, signature="c2ln"),
    )
    assert reply.usage == Usage(input_tokens=3, output_tokens=2)
    assert reply.finish_reason == "stop"


def test_request_carries_system_contents_tools_and_bounds() -> None:
    body = encoded(text="hola", system="Be kind", tools=(WEIGHT_TOOL,), temperature=0.0, max_output_tokens=9)
    assert body == {
        "contents": [{"role": "user", "parts": [{"text": "hola"}]}],
        "systemInstruction": {"role": "user", "parts": [{"text": "Be kind"}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": WEIGHT_TOOL.name,
                        "description": WEIGHT_TOOL.description,
                        "parametersJsonSchema": WEIGHT_TOOL.parameters,
                    }
                ]
            }
        ],
        "generationConfig": {"temperature": 0.0, "maxOutputTokens": 9},
    }


def test_request_leaves_out_what_is_not_set() -> None:
    assert encoded(text="hola").keys() == {"contents"}


def test_wire_bytes_are_kept_with_the_content_and_joined() -> None:
    first, second = user("uno"), user("dos")
    DIALECT.encode(ask(contents=(first,)), model="m", streams=False)
    kept = first.wire["vertex"]
    first.wire["vertex"] = kept.replace(b"uno", b"UNO")
    body = DIALECT.encode(ask(contents=(first, second)), model="m", streams=False)
    assert b"UNO" in body
    assert json.loads(body)["contents"][1]["parts"] == [{"text": "dos"}]


def test_reply_goes_back_verbatim_with_its_signature() -> None:
    call = {"functionCall": {"id": "7", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    signed = {"text": "said", "thoughtSignature": "dGV4dA=="}
    reply = decoded(candidate(signed, call, finish="STOP"))
    body = encoded(contents=(user("q"), reply.content))
    assert body["contents"][1] == {"role": "model", "parts": [signed, call]}


def test_signed_text_stays_a_part_of_its_own() -> None:
    reply = decoded(candidate({"text": "a"}, {"text": "b", "thoughtSignature": "cw=="}, {"text": "c"}, finish="STOP"))
    assert reply.content.parts == (Text(text="a"), Text(text="b", signature="cw=="), Text(text="c"))
    assert reply.text == "abc"


def test_first_unsigned_call_asks_to_skip_the_check() -> None:
    calls = (ToolCall(name="f", arguments={}), ToolCall(name="g", arguments={}))
    parts = encoded(contents=(Content(role="model", parts=calls),))["contents"][0]["parts"]
    assert parts[0]["thoughtSignature"] == SKIP_SIGNATURE
    assert "thoughtSignature" not in parts[1]


def test_tool_result_is_a_function_response() -> None:
    result = Content(role="user", parts=(ToolResult(name="f", response={"kg": 80}, id="7"),))
    part = encoded(contents=(result,))["contents"][0]["parts"][0]
    assert part == {"functionResponse": {"name": "f", "response": {"kg": 80}, "id": "7"}}


def test_empty_content_is_sent_as_empty_text() -> None:
    assert encoded(contents=(Content(role="model", parts=()),))["contents"][0]["parts"] == [{"text": ""}]


def test_usage_separates_thoughts_and_names_cached() -> None:
    usage = {
        "promptTokenCount": 100,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 7,
        "cachedContentTokenCount": 64,
        "totalTokenCount": 127,
        "trafficType": "SOMETHING_NEW",
    }
    reply = decoded({**candidate({"text": "x"}, finish="STOP"), "usageMetadata": usage, "modelVersion": "m-001"})
    assert reply.usage == Usage(input_tokens=100, output_tokens=20, thought_tokens=7, cached_tokens=64)
    assert (reply.model, reply.location, reply.provider) == ("m-001", "global", "vertex")


@pytest.mark.parametrize("word", [*FINISH, "UNHEARD_OF"])
def test_every_finish_reason_is_understood(word: str) -> None:
    assert decoded(candidate({"text": "x"}, finish=word)).finish_reason == FINISH.get(word, "other")


def test_unknown_fields_and_parts_are_passed_over() -> None:
    document = candidate({"executableCode": {"code": "1"}}, {"text": "x", "novel": 1}, finish="STOP")
    assert decoded({**document, "novel": {}}).text == "x"


def test_empty_stop_is_an_empty_reply() -> None:
    reply = decoded({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]})
    assert (reply.text, reply.finish_reason, reply.content.parts) == ("", "stop", ())


@pytest.mark.parametrize(
    "document",
    [
        {"promptFeedback": {"blockReason": "NEVER_SEEN"}},
        {"candidates": [], "promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [{"finishReason": "SAFETY"}]},
    ],
)
def test_blocked_prompt_or_answer_is_model_blocked(document: dict[str, Any]) -> None:
    with pytest.raises(ModelBlocked):
        decoded(document)
    reader = DIALECT.reader(model="m")
    reader.feed(sse(document))
    with pytest.raises(ModelBlocked):
        reader.finish()


def test_safety_stop_after_words_keeps_them() -> None:
    reply = decoded(candidate({"text": "half"}, finish="SAFETY"))
    assert (reply.text, reply.finish_reason) == ("half", "safety")


@pytest.mark.parametrize("body", [b"", b"{", b'{"candidates": [{"con', b"<html>", b"[]", b"{}", b'{"candidates": 7}'])
def test_reply_that_cannot_be_understood_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ModelProtocolError):
        DIALECT.decode(body, model="m")


@pytest.mark.parametrize("tail", [b"", b'data: {"candidates": [{"con', b'{\n  "error": {'])
def test_stream_without_finish_reason_is_unavailable(tail: bytes) -> None:
    reader = DIALECT.reader(model="m")
    assert reader.feed(sse(candidate({"text": "half"})) + tail) == ["half"]
    with pytest.raises(ModelUnavailable):
        reader.finish()


@pytest.mark.parametrize("as_list", [False, True])
def test_bare_error_in_a_stream_is_typed(as_list: bool) -> None:
    error: Any = {"error": {"code": 429, "message": "private words", "status": "RESOURCE_EXHAUSTED"}}
    reader = DIALECT.reader(model="m")
    reader.feed(sse(candidate({"text": "half"})))
    with pytest.raises(ModelThrottled) as raised:
        reader.feed(json.dumps([error] if as_list else error, indent=2).encode() + b"\n")
    assert "private" not in str(raised.value)


def test_broken_frame_in_the_middle_is_a_protocol_error() -> None:
    with pytest.raises(ModelProtocolError):
        DIALECT.reader(model="m").feed(b"data: {oops}\n\n")


def test_count_is_read_and_nonsense_refused() -> None:
    assert DIALECT.decode_count(b'{"totalTokens": 12, "novel": 1}') == 12
    with pytest.raises(ModelProtocolError):
        DIALECT.decode_count(b"{}")
