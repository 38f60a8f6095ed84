"""Each fault as a plain client sees it, and which call takes which fault."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.vertex.conftest import CHUNKS
from tests.vertex.emulator.wire import Wire, body


async def finish(wire: Wire, fault: dict[str, Any]) -> dict[str, Any]:
    await wire.script(fault)
    candidate: dict[str, Any] = (await wire.generate(body())).json()["candidates"][0]
    return candidate


@pytest.mark.parametrize("kind", ["reset", "html", "refusal", "status"])
@pytest.mark.parametrize("streams", [False, True])
async def test_fault_before_the_answer_leaves_none(wire: Wire, kind: str, streams: bool) -> None:
    await wire.script({"kind": kind, **({"name": "overloaded"} if kind == "refusal" else {})})
    answer = await (wire.stream(body()) if streams else wire.generate(body()))
    expected = {"reset": 0, "html": 404, "refusal": 503, "status": 503}[kind]
    assert (answer.status, answer.is_whole) == (expected, kind != "reset")
    (seen,) = (await wire.state())["requests"]
    assert (seen["received"], seen["answered"], seen["refused"]) == (1, 0, {str(expected): 1})


@pytest.mark.parametrize("kind", ["cut", "reset_in_stream"])
@pytest.mark.parametrize("at_chunk", [1, 5, CHUNKS - 1])
async def test_stream_breaks_at_its_chunk(wire: Wire, kind: str, at_chunk: int) -> None:
    await wire.script({"kind": kind, "at_chunk": at_chunk})
    answer = await wire.stream(body())
    assert not answer.is_whole
    assert len(answer.documents()) == at_chunk if kind == "cut" else len(answer.documents()) <= at_chunk
    assert (await wire.state())["streams_broken"] == 1


@pytest.mark.parametrize("kind", ["cut", "reset_in_stream"])
async def test_unary_answer_breaks_in_its_body(wire: Wire, kind: str) -> None:
    await wire.script({"kind": kind})
    answer = await wire.generate(body())
    assert not answer.is_whole
    with pytest.raises(json.JSONDecodeError):
        answer.json()


async def test_error_in_the_stream_is_bare_json_over_several_lines(wire: Wire) -> None:
    await wire.script({"kind": "error_in_stream", "name": "shared_exhausted", "at_chunk": 3})
    answer = await wire.stream(body())
    assert (answer.status, answer.is_whole) == (200, True)
    events, _, error = answer.content.partition(b"\r\n\r\n{\n")
    assert events.count(b"data: ") == 3
    assert json.loads(b"{" + error)["error"]["code"] == 429


async def test_split_frames_are_the_same_bytes(wire: Wire) -> None:
    whole = (await wire.stream(body("¿sueño?"))).text
    await wire.script({"kind": "byte_split", "size_bytes": 3})
    assert (await wire.stream(body("¿sueño?"))).text == whole


@pytest.mark.parametrize("kind", ["stall_first", "stall_gap"])
async def test_stall_only_delays(wire: Wire, kind: str) -> None:
    await wire.script({"kind": kind, "delay_ms": 20, "at_chunk": 4})
    answer = await wire.stream(body())
    assert (answer.is_whole, len(answer.documents())) == (True, CHUNKS)


async def test_truncated_json_is_half(wire: Wire) -> None:
    await wire.script({"kind": "truncated", "times": 2})
    unary, streamed = await wire.generate(body()), await wire.stream(body())
    assert unary.is_whole
    with pytest.raises(json.JSONDecodeError):
        unary.json()
    assert len(streamed.documents()) == CHUNKS - 1


async def test_odd_ends_of_an_answer(wire: Wire) -> None:
    assert (await finish(wire, {"kind": "empty_stop"}))["content"] == {"role": "model"}
    malformed = await finish(wire, {"kind": "malformed_call"})
    assert (malformed["content"], malformed["finishReason"]) == ({}, "MALFORMED_FUNCTION_CALL")
    thought = (await finish(wire, {"kind": "thought_only"}))["content"]["parts"]
    assert [part.get("thought") for part in thought] == [True]
    assert (await finish(wire, {"kind": "unknown_finish"}))["finishReason"] == "UNHEARD_OF"
    assert (await finish(wire, {"kind": "safety"}))["finishReason"] == "SAFETY"
    call = (await finish(wire, {"kind": "force_call", "name": "f", "arguments": {"x": 1}}))["content"]["parts"][0]
    assert call["functionCall"] == {"name": "f", "args": {"x": 1}}
    assert call["thoughtSignature"]


async def test_blocked_prompt_is_200_without_candidates(wire: Wire) -> None:
    await wire.script({"kind": "blocked_prompt", "times": 2})
    for answer in (await wire.generate(body()), await wire.stream(body())):
        document = answer.documents()[0] if answer.content.startswith(b"data") else answer.json()
        assert answer.status == 200
        assert document["promptFeedback"]["blockReason"] == "PROHIBITED_CONTENT"
        assert "candidates" not in document


async def test_odd_ends_of_a_stream(wire: Wire) -> None:
    await wire.script({"kind": "no_finish"}, {"kind": "usage_last"}, {"kind": "line_separator"})
    endless, apart, separated = [await wire.stream(body()) for _ in range(3)]
    assert "finishReason" not in endless.documents()[-1]["candidates"][0]
    assert "candidates" not in apart.documents()[-1]
    assert apart.documents()[-1]["usageMetadata"]["totalTokenCount"] > 0
    assert "\u2028" in separated.text
    assert " " not in separated.text


async def test_fault_finds_its_call_by_operation_model_and_location(wire: Wire) -> None:
    await wire.script(
        {"kind": "status", "status": 500, "operation": "stream*"},
        {"kind": "status", "status": 503, "location": "eu"},
        {"kind": "status", "status": 429, "model": "gemini-3.5-*", "times": None},
        {"kind": "status", "status": 400, "operation": "cachedContents.list"},
    )
    assert (await wire.generate(body())).status == 200
    assert (await wire.generate(body(), model="gemini-3.5-flash")).status == 429
    assert (await wire.generate(body(), location="eu")).status == 503
    assert (await wire.stream(body())).status == 500
    assert (await wire.call("GET", "/v1/projects/p/locations/global/cachedContents")).status == 400
    assert [fault["model"] for fault in (await wire.state())["faults"]] == ["gemini-3.5-*"]


async def test_openai_call_is_matched_by_the_model_in_its_body(wire: Wire) -> None:
    await wire.script({"kind": "status", "status": 500, "model": "llama"})
    chat = {"model": "qwen", "messages": [{"role": "user", "content": "x"}]}
    assert (await wire.post("/v1/chat/completions", chat)).status == 200
    assert (await wire.post("/v1/chat/completions", {**chat, "model": "llama"})).status == 500


async def test_sequence_has_passes_and_faults_that_come_later(wire: Wire) -> None:
    await wire.script(
        {"kind": "pass", "times": 2}, {"kind": "status", "status": 500}, {"kind": "status", "status": 503, "after": 1}
    )
    assert [(await wire.generate(body())).status for _ in range(6)] == [200, 200, 500, 200, 503, 200]
    assert (await wire.state())["faults_played"] == {"pass": 2, "status": 2}


async def test_share_of_streams_is_cut_at_chunks_drawn_from_the_seed(wire: Wire) -> None:
    async def cuts() -> list[int]:
        fault = {"kind": "cut", "share": 0.3, "at_chunk": 1, "at_chunk_max": CHUNKS - 1}
        await wire.script(fault)
        answers = [await wire.stream(body()) for _ in range(60)]
        return [0 if answer.is_whole else len(answer.documents()) for answer in answers]

    first = await cuts()
    assert await cuts() == first
    broken = [chunk for chunk in first if chunk]
    assert 8 <= len(broken) <= 28
    assert len(set(broken)) > 3


async def test_emulator_that_is_down_resets_all_but_the_control(wire: Wire) -> None:
    await wire.order(down_s=60)
    assert (await wire.generate(body())).status == 0
    assert (await wire.call("GET", "/v1/models")).status == 0
    await wire.order(advance_s=61)
    assert (await wire.generate(body())).status == 200


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "earthquake"},
        {"kind": "byte_split", "size_bytes": 0},
        {"kind": "cut", "at_chunk": -1},
        {"kind": "stall_first", "delay_ms": -1},
        {"kind": "refusal"},
        {"kind": "refusal", "name": "x"},
        {"kind": "status", "colour": 1},
        {},
    ],
    ids=str,
)
async def test_malformed_fault_is_refused_and_changes_nothing(wire: Wire, fault: dict[str, Any]) -> None:
    await wire.script({"kind": "status", "times": 7})
    refused = await wire.post("/_control", {"faults": [fault]})
    assert (refused.status, refused.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert (await wire.state())["faults"][0]["times"] == 7
