from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.errors import ModelBlocked, ModelProtocolError, ModelThrottled, ModelUnavailable
from ngx_agents.vertex.content import Content, Text, ToolCall, ToolResult, Usage
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from tests.vertex.conftest import WEIGHT_TOOL, ask, user

DIALECT = OpenAIDialect()


def encoded(*, streams: bool = False, **fields: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(DIALECT.encode(ask(**fields), model="m", streams=streams))
    return body


def sse(*documents: dict[str, Any], done: bool = True) -> bytes:
    lines = [b"data: " + json.dumps(document, ensure_ascii=False).encode() + b"\n\n" for document in documents]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def call_delta(index: int, arguments: str, **fields: Any) -> dict[str, Any]:
    name = fields.pop("name", None)
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return delta(tool_calls=[{"index": index, "function": function, **fields}])


def decoded(message: dict[str, Any], finish: str = "stop", **top: Any) -> Any:
    document = {"model": "m-1", "choices": [{"message": message, "finish_reason": finish}], **top}
    return DIALECT.decode(json.dumps(document).encode(), model="asked")


STREAM = sse(
    delta(role="assistant", content=""),
    delta(reasoning_content="mmm"),
    delta(content="Hola "),
    delta(content="señor 👋"),
    call_delta(0, "", id="c1", type="function", name="f"),
    call_delta(1, '{"b"', id="c2", name="g"),
    call_delta(0, '{"a": "ñ'),
    call_delta(1, ": 2}"),
    call_delta(0, '"}'),
    delta("tool_calls"),
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}},
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
    assert texts == ["Hola ", "señor 👋"]
    assert reply.content.parts == (
        Text(text="mmm", thought=True),
        Text(text="Hola señor 👋"),
        ToolCall(name="f", arguments={"a": "ñ"}, id="c1"),
        ToolCall(name="g", arguments={"b": 2}, id="c2"),
    )
    assert reply.usage == Usage(input_tokens=9, output_tokens=5)
    assert (reply.finish_reason, reply.model, reply.provider, reply.location) == ("stop", "m-1", "openai", "")


def test_request_carries_system_messages_tools_and_bounds() -> None:
    body = encoded(text="hola", system="Be kind", tools=(WEIGHT_TOOL,), temperature=0.0, max_output_tokens=9)
    function = {"name": WEIGHT_TOOL.name, "description": WEIGHT_TOOL.description, "parameters": WEIGHT_TOOL.parameters}
    assert body == {
        "model": "m",
        "messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "hola"}],
        "tools": [{"type": "function", "function": function}],
        "temperature": 0.0,
        "max_tokens": 9,
    }


def test_stream_asks_for_usage() -> None:
    body = encoded(streams=True)
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_calls_and_results_find_each_other_by_id() -> None:
    calls = Content(role="model", parts=tuple(ToolCall(name="f", arguments={"n": n}) for n in (1, 2)))
    results = Content(role="user", parts=tuple(ToolResult(name="f", response={"n": n}) for n in (1, 2)))
    _, asked, first, second = encoded(contents=(user("q"), calls, results))["messages"]
    assert [call["id"] for call in asked["tool_calls"]] == [first["tool_call_id"], second["tool_call_id"]]
    assert first["tool_call_id"] != second["tool_call_id"]
    assert json.loads(asked["tool_calls"][1]["function"]["arguments"]) == {"n": 2}
    assert (second["role"], json.loads(second["content"])) == ("tool", {"n": 2})


def test_thoughts_are_not_sent_back() -> None:
    content = Content(role="model", parts=(Text(text="hmm", thought=True), Text(text="yes")))
    assert encoded(contents=(content,))["messages"] == [{"role": "assistant", "content": "yes"}]


def test_whole_reply_with_calls_and_details_of_usage() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    tool_calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
    reply = decoded({"role": "assistant", "content": None, "tool_calls": tool_calls}, "tool_calls", usage=usage)
    assert reply.calls == (ToolCall(name="f", arguments={"a": 1}, id="c"),)
    assert reply.usage == Usage(input_tokens=10, output_tokens=5, thought_tokens=3, cached_tokens=4)


@pytest.mark.parametrize("arguments", ["{", "[1]", "nonsense"])
def test_arguments_that_are_no_object_are_a_malformed_call(arguments: str) -> None:
    tool_calls = [{"function": {"name": "f", "arguments": arguments}}]
    reply = decoded({"tool_calls": tool_calls}, "tool_calls")
    assert (reply.finish_reason, reply.calls) == ("malformed_call", ())


@pytest.mark.parametrize(
    ("word", "reason"), [("stop", "stop"), ("length", "max_tokens"), ("content_filter", "safety"), ("novel", "other")]
)
def test_every_finish_reason_is_understood(word: str, reason: str) -> None:
    assert decoded({"content": "x"}, word).finish_reason == reason


def test_filtered_answer_without_words_is_blocked() -> None:
    with pytest.raises(ModelBlocked):
        decoded({"content": None}, "content_filter")


@pytest.mark.parametrize("body", [b"", b"{", b"{}", b'{"choices": []}', b"<html>"])
def test_reply_that_cannot_be_understood_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ModelProtocolError):
        DIALECT.decode(body, model="m")


@pytest.mark.parametrize("tail", [b"", b'data: {"choices": [{"del'])
def test_stream_without_finish_is_unavailable(tail: bytes) -> None:
    reader = DIALECT.reader(model="m")
    assert reader.feed(sse(delta(content="half"), done=False) + tail) == ["half"]
    with pytest.raises(ModelUnavailable):
        reader.finish()


def test_done_alone_completes_a_stream() -> None:
    reader = DIALECT.reader(model="m")
    reader.feed(sse(delta(content="all")))
    assert reader.finish().text == "all"


def test_error_in_a_stream_is_typed() -> None:
    reader = DIALECT.reader(model="m")
    with pytest.raises(ModelThrottled):
        reader.feed(sse({"error": {"message": "private", "type": "rate_limit_error", "code": None}}))
