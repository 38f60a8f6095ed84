"""Every route, in both versions, of every kind of location."""

from __future__ import annotations

import json

import pytest

from tests.vertex.conftest import CHUNKS
from tests.vertex.emulator.wire import Wire, body, path

CONTENT = {"content": {"parts": [{"text": "sleep"}]}}
CALLS = [
    ("generateContent", "gemini-3.8-flash", body()),
    ("streamGenerateContent", "gemini-3.8-flash", body()),
    ("countTokens", "gemini-3.8-flash", body()),
    ("embedContent", "gemini-embedding-2", CONTENT),
    ("batchEmbedContents", "gemini-embedding-001", {"requests": [CONTENT]}),
    ("predict", "text-embedding-005", {"instances": [{"content": "sleep"}]}),
]


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("place", ["/projects/p/locations/global", "/projects/p/locations/eu", ""])
@pytest.mark.parametrize(("call", "model", "request_body"), CALLS, ids=[call for call, _, _ in CALLS])
async def test_call_is_served_in_each_version_location_and_in_express_mode(
    wire: Wire, version: str, place: str, call: str, model: str, request_body: object
) -> None:
    answer = await wire.post(f"/{version}{place}/publishers/google/models/{model}:{call}", request_body)
    assert answer.status == 200, answer.content
    (seen,) = (await wire.state())["requests"]
    location = "eu" if place.endswith("eu") else "global"
    assert (seen["operation"], seen["location"], seen["model"]) == (call, location, model)
    assert (seen["received"], seen["answered"], seen["refused"]) == (1, 1, {})


@pytest.mark.parametrize("call", ["generateContent", "streamGenerateContent", "countTokens"])
async def test_tuned_model_is_served_by_its_endpoint(wire: Wire, call: str) -> None:
    answer = await wire.post(f"/v1/projects/p/locations/us-central1/endpoints/123:{call}", body())
    assert answer.status == 200
    assert (await wire.state())["requests"][0]["model"] == "endpoints/123"


async def test_stream_is_events_with_alt_sse_and_one_array_without(wire: Wire) -> None:
    events = await wire.stream(body())
    array = await wire.post(path("streamGenerateContent"), body())
    assert events.headers["content-type"] == "text/event-stream"
    assert array.headers["content-type"].startswith("application/json")
    assert len(events.documents()) == len(array.json()) == CHUNKS
    assert events.content.endswith(b"}\r\n\r\n")
    texts = [document["candidates"][0]["content"]["parts"][0]["text"] for document in array.json()]
    assert events.text == "".join(texts) == (await wire.generate(body())).text


async def test_stream_may_break_into_one_piece(wire: Wire) -> None:
    await wire.order(latency={"chunks": 1})
    assert len((await wire.stream(body())).documents()) == 1


@pytest.mark.parametrize("prefix", ["/v1", "/v1/projects/p/locations/us/endpoints/openapi"])
async def test_openai_surface_has_chat_and_embeddings(wire: Wire, prefix: str) -> None:
    chat = {"model": "m", "messages": [{"role": "user", "content": "sleep"}]}
    answer = await wire.post(f"{prefix}/chat/completions", chat)
    assert "sleep" in answer.json()["choices"][0]["message"]["content"]
    embedded = await wire.post(f"{prefix}/embeddings", {"model": "m", "input": ["sleep", "run"], "dimensions": 64})
    assert [len(each["embedding"]) for each in embedded.json()["data"]] == [64, 64]
    assert {each["model"] for each in (await wire.state())["requests"]} == {"m"}


async def test_openai_surface_keeps_to_a_schema(wire: Wire) -> None:
    schema = {"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]}
    form = {"type": "json_schema", "json_schema": {"name": "weight", "schema": schema}}
    chat = {"model": "m", "messages": [{"role": "user", "content": "81.5 kg"}], "response_format": form}
    answer = await wire.post("/v1/chat/completions", chat)
    assert json.loads(answer.json()["choices"][0]["message"]["content"]) == {"kg": 81.5}


@pytest.mark.parametrize(
    "unknown",
    [
        "/",
        "/v2/projects/p/locations/global/publishers/google/models/gemini-3.8-flash:generateContent",
        "/v1/projects/p/publishers/google/models/gemini-3.8-flash:generateContent",
        path("thinkAboutIt"),
        "/v1/projects/p/locations/global/cachedContents/1/2",
    ],
)
async def test_unknown_path_is_a_web_page(wire: Wire, unknown: str) -> None:
    answer = await wire.call("PUT", unknown)
    assert answer.status == (200 if unknown == "/" else 404)
    assert answer.headers["content-type"].startswith("text/html" if unknown != "/" else "application/text")


async def test_host_that_does_not_exist_is_a_web_page(wire: Wire) -> None:
    answer = await wire.generate(body(), {"host": "global-aiplatform.googleapis.com"})
    assert (answer.status, answer.headers["content-type"]) == (404, "text/html; charset=UTF-8")


async def test_location_hosts_are_served(wire: Wire) -> None:
    for host in ("aiplatform.googleapis.com", "aiplatform.eu.rep.googleapis.com"):
        assert (await wire.generate(body(), {"host": host}, location="eu")).status == 200


async def test_count_says_tokens_by_modality_and_billable_characters(wire: Wire) -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "aGVsbG8="}}
    asked = {"contents": [{"role": "user", "parts": [{"text": "four 4 2"}, image]}]}
    counted = (await wire.post(path("countTokens"), asked)).json()
    assert counted["promptTokensDetails"] == [
        {"modality": "TEXT", "tokenCount": 2},
        {"modality": "IMAGE", "tokenCount": 1120},
    ]
    assert (counted["totalTokens"], counted["totalBillableCharacters"]) == (1122, 6)


async def test_count_takes_system_and_tools_in(wire: Wire) -> None:
    tools = [{"functionDeclarations": [{"name": "log_weight", "description": "d" * 100}]}]
    alone = (await wire.post(path("countTokens"), body())).json()["totalTokens"]
    system = {"role": "user", "parts": [{"text": "s" * 400}]}
    whole = (await wire.post(path("countTokens"), body(systemInstruction=system, tools=tools))).json()
    assert whole["totalTokens"] > alone + 100 + 25
    wrapped = await wire.post(path("countTokens"), {"generateContentRequest": body(systemInstruction=system)})
    assert wrapped.json()["totalTokens"] == alone + 100
