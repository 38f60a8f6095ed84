"""The emulator itself: what it must be like to be worth testing against."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

import pytest

from ngx_agents.vertex.emulator.__main__ import settings_from
from ngx_agents.vertex.emulator.answers import language_of
from ngx_agents.vertex.emulator.settings import EmulatorSettings
from ngx_agents.vertex.emulator.vertex_reader import SKIP_SIGNATURE
from tests.emulator_process import start_emulator
from tests.vertex.conftest import WEIGHT_TOOL, Emulator

MODEL = "/publishers/google/models/gemini-3.8-flash"
PROJECT = "/projects/p/locations/global"
TOOLS = [{"functionDeclarations": [{"name": WEIGHT_TOOL.name, "parametersJsonSchema": WEIGHT_TOOL.parameters}]}]


def body(text: str = "hello", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


def generate(emulator: Emulator, request: Any, *, prefix: str = f"/v1{PROJECT}") -> tuple[int, Any]:
    return emulator.post(f"{prefix}{MODEL}:generateContent", request)


def parts(answer: tuple[int, Any]) -> list[dict[str, Any]]:
    assert answer[0] == 200, answer
    found: list[dict[str, Any]] = answer[1]["candidates"][0]["content"]["parts"]
    return found


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
@pytest.mark.parametrize("project", [PROJECT, ""])
def test_both_versions_and_the_express_way_are_served(emulator: Emulator, version: str, project: str) -> None:
    assert "hello" in parts(generate(emulator, body(), prefix=f"/{version}{project}"))[0]["text"]


def test_same_body_gets_the_same_words_and_another_body_others(emulator: Emulator) -> None:
    first, again, other = (parts(generate(emulator, body(text)))[0]["text"] for text in ("one", "one", "two"))
    assert first == again
    assert first != other


def test_seed_changes_the_words() -> None:
    with start_emulator(seed=2, chunks=60) as one, start_emulator(seed=3, chunks=60) as two:
        texts = {parts(generate(Emulator(url), body("one")))[0]["text"] for url in (one, two)}
    assert len(texts) == 2


def test_stream_carries_the_words_of_the_unary_answer(emulator: Emulator) -> None:
    text = parts(generate(emulator, body()))[0]["text"]
    status, chunks = emulator.post(f"/v1{PROJECT}{MODEL}:streamGenerateContent", body())
    assert status == 200
    assert "".join(chunk["candidates"][0]["content"]["parts"][0]["text"] for chunk in chunks) == text
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks[-2:]] == [None, "STOP"]


def test_usage_adds_up_and_grows_with_the_prompt(emulator: Emulator) -> None:
    small, large = (generate(emulator, body(text))[1]["usageMetadata"] for text in ("hi", "hi " * 400))
    assert small["promptTokenCount"] < large["promptTokenCount"] == 300
    for usage in (small, large):
        parts_of = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        assert usage["totalTokenCount"] == sum(usage[name] for name in parts_of)


def test_snake_case_is_accepted(emulator: Emulator) -> None:
    tools = [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}]
    config = {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}}
    answer = generate(emulator, body(tools=tools, tool_config=config, generation_config={}))
    assert parts(answer)[0]["functionCall"] == {"name": "f", "args": {}}


@pytest.mark.parametrize(
    ("text", "mode", "calls"),
    [
        ("please log my weight 80", "AUTO", True),
        ("please log my weight 80", "VALIDATED", True),
        ("please log my weight 80", "NONE", False),
        ("tell me a story", "AUTO", False),
        ("tell me a story", "ANY", True),
    ],
)
def test_mode_decides_whether_a_tool_is_called(emulator: Emulator, text: str, mode: str, calls: bool) -> None:
    config = {"functionCallingConfig": {"mode": mode}}
    assert ("functionCall" in parts(generate(emulator, body(text, tools=TOOLS, toolConfig=config)))[0]) is calls


def called(signature: str | None) -> dict[str, Any]:
    call: dict[str, Any] = {"functionCall": {"name": "log_weight", "args": {"kg": 80}}}
    if signature is not None:
        call["thoughtSignature"] = signature
    result = {"functionResponse": {"name": "log_weight", "response": {"result": "stored"}}}
    turns = [
        {"role": "user", "parts": [{"text": "log my weight 80"}]},
        {"role": "model", "parts": [call]},
        {"role": "user", "parts": [result]},
    ]
    return {"contents": turns, "tools": TOOLS}


def test_replayed_call_needs_its_own_signature(emulator: Emulator) -> None:
    asked = parts(generate(emulator, body("log my weight 80", tools=TOOLS)))
    assert "log_weight" in parts(generate(emulator, called(asked[0]["thoughtSignature"])))[0]["text"]
    assert generate(emulator, called(SKIP_SIGNATURE))[0] == 200
    status, refusal = generate(emulator, called(None))
    assert (status, refusal["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "missing a thought_signature" in refusal["error"]["message"]
    assert generate(emulator, called("Zm9yZ2Vk"))[0] == 400


MALFORMED: list[Any] = [
    b"{",
    b"[]",
    {},
    {"contents": []},
    {"contents": "words"},
    {"contents": [{"role": "user"}]},
    {"contents": [{"role": "bot", "parts": [{"text": "x"}]}]},
    {"contents": [{"role": "user", "parts": [{}]}]},
    {"contents": [{"role": "user", "parts": [{"text": "x", "inlineData": {}}]}]},
    body(tools=[{"functionDeclarations": [{}]}]),
]


@pytest.mark.parametrize("request_body", MALFORMED, ids=str)
def test_malformed_body_is_refused_with_400(emulator: Emulator, request_body: Any) -> None:
    status, refusal = generate(emulator, request_body)
    assert (status, refusal["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_faults_are_taken_in_order_and_used_up(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 429, "times": 2}, {"kind": "status", "status": 503})
    assert [generate(emulator, body())[0] for _ in range(4)] == [429, 429, 503, 200]
    assert emulator.state["faults"] == []


def test_share_of_the_calls_fails_the_same_ones_each_time(emulator: Emulator) -> None:
    def statuses() -> list[int]:
        emulator.reset()
        emulator.script({"kind": "status", "status": 503, "share": 0.3})
        return [generate(emulator, body())[0] for _ in range(60)]

    first = statuses()
    assert statuses() == first
    assert 6 < first.count(503) < 32


def test_control_shows_the_last_call_and_refuses_nonsense(emulator: Emulator) -> None:
    generate(emulator, body("seen"))
    state = emulator.state
    assert (state["calls"], state["last_request"]) == (1, body("seen"))
    assert emulator.post("/_control", [{"kind": "earthquake"}])[0] == 400
    emulator.reset()
    assert emulator.state["calls"] == 0


def test_calls_without_credentials_are_refused_when_they_must_have_them(guarded_emulator: Emulator) -> None:
    path = f"/v1{PROJECT}{MODEL}:generateContent"
    status, refusal = guarded_emulator.post(path, body(), {"authorization": "Bearer forged"})
    assert (status, refusal["error"]["status"]) == (401, "UNAUTHENTICATED")
    assert guarded_emulator.post(path, body(), {"x-goog-api-key": "any"})[0] == 200
    token = guarded_emulator.post("/token", {})[1]["access_token"]
    assert guarded_emulator.post(path, body(), {"authorization": f"Bearer {token}"})[0] == 200


def test_metadata_server_names_itself_and_gives_a_token(guarded_emulator: Emulator) -> None:
    url = f"{guarded_emulator.base_url}/computeMetadata/v1/instance/service-accounts/default/token"
    with urllib.request.urlopen(url) as answer:
        assert answer.headers["metadata-flavor"] == "Google"
        assert b"emulated-token-1" in answer.read()


def test_openai_surface_lists_models_and_refuses_nonsense(emulator: Emulator) -> None:
    with urllib.request.urlopen(f"{emulator.base_url}/v1/models") as answer:
        assert b"gemini-3.8-flash" in answer.read()
    status, refusal = emulator.post("/v1/chat/completions", {"messages": []})
    assert (status, refusal["error"]["type"]) == (400, "invalid_request_error")


def test_first_byte_waits_for_the_latency_that_was_set() -> None:
    with start_emulator(ttft_ms=500, chunks=1) as base_url:
        emulator = Emulator(base_url)
        with pytest.raises(TimeoutError):
            urllib.request.urlopen(
                f"{base_url}/v1{PROJECT}{MODEL}:generateContent", json.dumps(body()).encode(), timeout=0.1
            )
        assert generate(emulator, body())[0] == 200


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hola, quiero bajar de peso", "es"),
        ("¿Y eso?", "es"),
        ("How do I sleep well with my shifts", "en"),
        ("12 kg", "en"),
        ("I want to know what “siesta” is", "en"),
    ],
)
def test_answer_is_in_the_language_of_the_question(text: str, language: str) -> None:
    assert language_of(text) == language


def test_every_setting_is_an_option() -> None:
    options = ["--ttft-ms", "20", "--chunks", "3", "--chunk-gap-ms", "1.5", "--seed", "7", "--require-auth"]
    assert settings_from(options) == EmulatorSettings(ttft_ms=20, chunks=3, chunk_gap_ms=1.5, seed=7, require_auth=True)
    assert settings_from([]) == EmulatorSettings()
