from __future__ import annotations

import json
from base64 import b64encode
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ngx_agents.errors import ModelBlocked, ModelProtocolError, ModelRequestError, ModelThrottled, ModelUnavailable
from ngx_agents.vertex.content import Content, Media, ModalityTokens, Text, ToolCall, ToolResult, Usage
from ngx_agents.vertex.dialects.vertex import SKIP_SIGNATURE, VertexDialect
from ngx_agents.vertex.dialects.vertex_reading import FINISH
from ngx_agents.vertex.media import MediaLimits
from tests.vertex.conftest import WEIGHT_TOOL, ask, user

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
    return DIALECT.decode(json.dumps(document).encode(), model="m")


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


@pytest.mark.parametrize("model", ["other", "m-001", ""])
def test_signatures_and_thoughts_never_reach_another_model(model: str) -> None:
    thought = {"text": "hmm", "thought": True, "thoughtSignature": "dGhpbms="}
    signed = {"text": "said", "thoughtSignature": "dGV4dA=="}
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}
    reply = decoded({**candidate(thought, signed, call, finish="STOP"), "modelVersion": "m-001"})
    contents = (user("q"), reply.content)
    own = json.loads(DIALECT.encode(ask(contents=contents), model="m", streams=False))
    other = json.loads(DIALECT.encode(ask(contents=contents), model=model, streams=False))
    again = json.loads(DIALECT.encode(ask(contents=contents), model="m", streams=False))
    assert own["contents"][1]["parts"] == again["contents"][1]["parts"] == [thought, signed, call]
    skipped = {**call, "thoughtSignature": SKIP_SIGNATURE}
    assert other["contents"][1]["parts"] == [{"text": "said"}, skipped]


def test_signature_of_unknown_origin_is_not_sent() -> None:
    content = Content(role="model", parts=(ToolCall(name="f", arguments={}, signature="c2ln"),))
    assert encoded(contents=(content,))["contents"][0]["parts"][0]["thoughtSignature"] == SKIP_SIGNATURE


def test_contents_may_end_with_the_beginning_of_the_answer() -> None:
    begun = Content(role="model", parts=(Text(text="Duerme"),))
    body = encoded(contents=(user("q"), begun))
    assert body["contents"][-1] == {"role": "model", "parts": [{"text": "Duerme"}]}


def test_images_and_documents_go_inline_or_by_address() -> None:
    png = b"\x89PNG\r\n\x1a\n...."
    parts = (
        Media(mime_type="image/png", data=png),
        Media(mime_type="application/pdf", uri="gs://b/o.pdf"),
        Text(text="?"),
    )
    assert encoded(contents=(Content(role="user", parts=parts),))["contents"][0]["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": b64encode(png).decode()}},
        {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/o.pdf"}},
        {"text": "?"},
    ]


@pytest.mark.parametrize(
    "media", [Media(mime_type="image/png", data=b"GIF89a"), Media(mime_type="a/b", uri="gs://b/o")]
)
def test_media_that_cannot_be_sent_is_refused_every_time(media: Media) -> None:
    contents = (Content(role="user", parts=(media,)),)
    for _ in range(2):
        with pytest.raises(ModelRequestError):
            encoded(contents=contents)


def test_request_larger_than_its_bound_is_refused() -> None:
    dialect = VertexDialect("global", limits=MediaLimits(max_request_bytes=100))
    assert dialect.encode(ask("hola"), model="m", streams=False)
    with pytest.raises(ModelRequestError):
        dialect.encode(ask("hola" * 30), model="m", streams=False)


def test_image_in_an_answer_is_a_part_and_goes_back() -> None:
    png = b"\x89PNG\r\n\x1a\n...."
    part = {"inlineData": {"mimeType": "image/png", "data": b64encode(png).decode()}}
    reply = decoded(candidate(part, finish="STOP"))
    assert reply.content.parts == (Media(mime_type="image/png", data=png),)
    assert not reply.is_empty
    assert encoded(contents=(reply.content,))["contents"][0]["parts"] == [part]


@pytest.mark.parametrize(
    ("field", "grounded", "cited"),
    [
        ({"groundingMetadata": {"webSearchQueries": ["q"]}}, True, False),
        ({"urlContextMetadata": {"urlMetadata": [{}]}}, True, False),
        ({"citationMetadata": {"citations": [{"uri": "u"}]}}, False, True),
        ({"groundingMetadata": {}, "citationMetadata": {}}, False, False),
        ({"groundingMetadata": None}, False, False),
        ({}, False, False),
    ],
)
def test_answers_made_with_what_was_found_elsewhere_say_so(field: Any, grounded: bool, cited: bool) -> None:
    document = candidate({"text": "x"}, finish="STOP")
    document["candidates"][0].update(field)
    whole = decoded(document)
    assert (whole.is_grounded, whole.has_citations) == (grounded, cited)
    reader = DIALECT.reader(model="m")
    reader.feed(sse(document, candidate({"text": "y"}, finish="STOP")))
    streamed = reader.finish()
    assert (streamed.is_grounded, streamed.has_citations) == (grounded, cited)


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
    assert reply.traffic_type == "SOMETHING_NEW"
    assert (reply.model, reply.location, reply.provider) == ("m-001", "global", "vertex")


def test_usage_is_split_by_modality_and_counts_what_tools_put_in() -> None:
    usage = {
        "promptTokenCount": 300,
        "toolUsePromptTokenCount": 40,
        "candidatesTokenCount": 20,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 42}, {"modality": "IMAGE", "tokenCount": 258}],
        "candidatesTokensDetails": [{"modality": "NEVER_SEEN", "tokenCount": 20}],
        "trafficType": "ON_DEMAND",
    }
    reply = decoded({**candidate({"text": "x"}, finish="STOP"), "usageMetadata": usage})
    assert reply.usage == Usage(
        input_tokens=340,
        output_tokens=20,
        tool_tokens=40,
        input_details=(ModalityTokens("text", 42), ModalityTokens("image", 258)),
        output_details=(ModalityTokens("never_seen", 20),),
    )
    twice = reply.usage.plus(reply.usage)
    assert twice.input_details == (ModalityTokens("text", 84), ModalityTokens("image", 516))
    assert (twice.tool_tokens, Usage().plus(reply.usage)) == (80, reply.usage)
    assert reply.traffic_type == "ON_DEMAND"


def test_usage_and_traffic_may_come_last_and_alone() -> None:
    reader = DIALECT.reader(model="m")
    last = {"usageMetadata": {"promptTokenCount": 3, "trafficType": "PROVISIONED_THROUGHPUT"}}
    reader.feed(sse(candidate({"text": "x"}, finish="STOP"), last))
    reply = reader.finish()
    assert (reply.text, reply.usage.input_tokens, reply.traffic_type) == ("x", 3, "PROVISIONED_THROUGHPUT")


@pytest.mark.parametrize("word", [*FINISH, "UNHEARD_OF"])
def test_every_finish_reason_is_understood(word: str) -> None:
    assert decoded(candidate({"text": "x"}, finish=word)).finish_reason == FINISH.get(word, "other")


def test_unknown_fields_and_parts_are_passed_over() -> None:
    document = candidate({"executableCode": {"code": "1"}}, {"text": "x", "novel": 1}, finish="STOP")
    assert decoded({**document, "novel": {}}).text == "x"


def test_empty_stop_is_an_empty_reply() -> None:
    reply = decoded({"candidates": [{"content": {"role": "model"}, "finishReason": "STOP"}]})
    assert (reply.text, reply.finish_reason, reply.content.parts) == ("", "stop", ())
    assert reply.is_empty


def test_thoughts_alone_are_an_empty_reply_that_keeps_them() -> None:
    reply = decoded(candidate({"text": "hmm", "thought": True}, finish="STOP"))
    assert reply.content.parts == (Text(text="hmm", thought=True),)
    assert reply.is_empty


def test_malformed_call_is_an_empty_reply_that_says_so() -> None:
    reply = decoded({"candidates": [{"content": {}, "finishReason": "MALFORMED_FUNCTION_CALL"}]})
    assert (reply.finish_reason, reply.is_empty) == ("malformed_call", True)


def test_stream_as_one_array_gives_all_of_it() -> None:
    documents = [candidate({"text": "a"}), candidate({"text": "b"}), candidate({"text": "c"}, finish="STOP")]
    reader = DIALECT.reader(model="m")
    texts = reader.feed(json.dumps(documents, indent=1).encode())
    reply = reader.finish()
    assert reply.text == "abc"
    assert "".join(texts) in ("", "abc")


@pytest.mark.parametrize("chunks", [[b"<!DOCTYPE html>\n<html>404</html>\n"], [b" \r", b"\n", b"<html>"]])
def test_web_page_in_place_of_a_stream_is_a_protocol_error(chunks: list[bytes]) -> None:
    reader = DIALECT.reader(model="m")
    for chunk in chunks[:-1]:
        assert reader.feed(chunk) == []
    with pytest.raises(ModelProtocolError, match="web page"):
        reader.feed(chunks[-1])


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
