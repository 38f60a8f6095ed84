"""What the service refuses in a request, and what it tolerates."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.vertex.emulator.wire import Wire, body, path

TOOLS = [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT"}}]}]


def config(**fields: Any) -> dict[str, Any]:
    return body(generationConfig=fields)


def calling(**fields: Any) -> dict[str, Any]:
    return body(tools=TOOLS, toolConfig={"functionCallingConfig": fields})


def part(part: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [part]}]}


def safety(category: Any, threshold: Any) -> dict[str, Any]:
    return body(safetySettings=[{"category": category, "threshold": threshold}])


REFUSED: list[tuple[dict[str, Any], str]] = [
    (config(temperature=2.1), "temperature value of 2.1 but the supported range is from 0.0 (inclusive) to 2.0"),
    (config(temperature="hot"), "Invalid value at 'generation_config.temperature'"),
    (config(topP=-0.1), "topP"),
    (config(topK=0), "topK"),
    (config(topK=1.5), "topK"),
    (config(candidateCount=9), "candidateCount"),
    (config(maxOutputTokens=0), "maxOutputTokens"),
    (config(maxOutputTokens=65_537), "maxOutputTokens"),
    (config(maxOutputTokens=True), "max_output_tokens"),
    (config(stopSequences=list("abcdef")), "6 stopSequences but the maximum is 5"),
    (config(stopSequences=[""]), "stopSequences"),
    (config(stopSequences="END"), "stop_sequences"),
    (config(responseMimeType="text/html"), "responseMimeType parameter with value text/html"),
    (config(responseSchema={"type": "STRING"}), "response schema"),
    (
        config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}),
        "only one of response_schema and response_json_schema",
    ),
    (config(responseMimeType="application/json", responseSchema="x"), "response_schema"),
    (config(colour="red"), "Unknown name \"colour\" at 'generation_config': Cannot find field."),
    (body(colour="red"), 'Unknown name "colour": Cannot find field.'),
    (body(generationConfig=[]) | {"generationConfig": "x"}, "generation_config"),
    (config(thinkingConfig={"thinkingLevel": "ENORMOUS"}), "thinking_level"),
    (config(thinkingConfig={"thinkingBudget": -2}), "thinking_budget"),
    (config(thinkingConfig={"thinkingBudget": 100, "thinkingLevel": "LOW"}), "Only one of thinking"),
    (
        config(thinkingConfig={"thinkingBudget": 0, "includeThoughts": True}),
        "Thinking_config.include_thoughts is only enabled when thinking is enabled..",
    ),
    (safety("HARM_CATEGORY_NOISE", "OFF"), "Invalid value at 'safety_settings[0].category'"),
    (safety("HARM_CATEGORY_HARASSMENT", "BLOCK_SOME"), "Invalid value at 'safety_settings[0].threshold'"),
    (safety(None, "OFF"), "category"),
    (calling(mode="MAYBE"), "tool_config.function_calling_config.mode"),
    (calling(mode="AUTO", allowedFunctionNames=["f"]), "Allowed function names"),
    (calling(mode="ANY", allowedFunctionNames=["g"]), "not declared: g"),
    (body(tools=[{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]), "Duplicate function declaration"),
    (body(tools=[{"hammer": {}}]), 'Unknown name "hammer"'),
    (body(tools="x"), "tools"),
    (body(systemInstruction={"parts": [{"image": 1}]}), 'Unknown name "image"'),
    (part({"text": 5}), "text"),
    (part({"text": "x", "colour": 1}), 'Unknown name "colour"'),
    (part({"inlineData": {"mimeType": "image/png", "data": "%%%"}}), "Base64 decoding failed"),
    (part({"inlineData": {"mimeType": "application/zip", "data": ""}}), "application/zip, which is not supported"),
    (part({"inlineData": {"data": ""}}), "mimeType"),
    (part({"inlineData": "x"}), "mimeType"),
    (part({"fileData": {"mimeType": "video/mp4", "fileUri": "file:///etc/passwd"}}), "file URI is not supported"),
    (part({"functionCall": "x"}), "function_call"),
]


@pytest.mark.parametrize(("request_body", "says"), REFUSED, ids=[says[-40:] for _, says in REFUSED])
@pytest.mark.parametrize("call", ["generateContent", "streamGenerateContent"])
async def test_request_is_refused_with_400_and_says_why(
    wire: Wire, request_body: dict[str, Any], says: str, call: str
) -> None:
    answer = await wire.post(path(call), request_body)
    assert answer.status == 400, answer.content
    assert says in answer.message


TOLERATED: list[dict[str, Any]] = [
    body(generationConfig={}),
    body(generationConfig=None, tools=None, safetySettings=None, cachedContent=None, labels=None),
    body(labels={"team": "coach"}, modelArmorConfig={"promptTemplateName": "x"}, serviceTier="standard"),
    config(temperature=0, topP=1, topK=40, seed=7, presencePenalty=-2, frequencyPenalty=1.5, candidateCount=1),
    config(responseModalities=["TEXT"], mediaResolution="MEDIA_RESOLUTION_LOW", speechConfig={}, audioTimestamp=True),
    config(thinking_config={"include_thoughts": True, "thinking_level": "low"}),
    config(thinkingConfig={"thinkingLevel": "XHIGH"}),
    config(thinkingConfig={"thinkingBudget": -1}),
    body(generation_config={"max_output_tokens": 10, "stop_sequences": ["x"]}, safety_settings=[]),
    safety("HARM_CATEGORY_DANGEROUS_CONTENT", "BLOCK_ONLY_HIGH"),
    safety("harm_category_jailbreak", "off"),
    safety(7, 1),
    body(tools=[{"googleSearch": {}}, {"codeExecution": {}}, {"urlContext": {}}, {"google_maps": {}}]),
    {"contents": {"role": "user", "parts": [{"text": "one content, no list"}]}},
    {"contents": [{"parts": {"text": "no role, one part"}}]},
    part({"text": "seen", "thought": True, "thoughtSignature": "c2ln"}),
    part({"executableCode": {"language": "PYTHON", "code": "1"}}),
    part({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}),
    part({"inlineData": {"mimeType": "image/png", "data": base64.urlsafe_b64encode(b"\xff\xfe\xfd?>").decode()}}),
    part({"fileData": {"mimeType": "application/pdf", "fileUri": "gs://bucket/plan.pdf"}}),
    part({"inline_data": {"mime_type": "audio/wav", "data": "aGVsbG8="}, "mediaResolution": {"level": "X"}}),
]


@pytest.mark.parametrize("request_body", TOLERATED, ids=lambda each: str(each)[-50:])
async def test_request_is_served(wire: Wire, request_body: dict[str, Any]) -> None:
    answer = await wire.generate(request_body)
    assert answer.status == 200, answer.content


@pytest.mark.parametrize(
    ("thinking", "ok"),
    [
        ({"thinkingLevel": "high"}, True),
        ({"thinkingLevel": "MEDIUM"}, True),
        ({"thinkingLevel": "MINIMAL"}, False),
        ({"thinkingLevel": "XHIGH"}, False),
        ({"thinkingBudget": 512}, False),
        ({"includeThoughts": True}, True),
    ],
    ids=str,
)
async def test_argon_takes_three_levels_and_no_budget(wire: Wire, thinking: dict[str, Any], ok: bool) -> None:
    answer = await wire.generate(config(thinkingConfig=thinking), model="gemini-4-argon")
    assert answer.status == (200 if ok else 400)


async def test_thinking_decides_the_thoughts_and_their_tokens(wire: Wire) -> None:
    async def thoughts(**thinking: Any) -> tuple[int, bool]:
        answer = await wire.generate(config(thinkingConfig=thinking))
        parts = answer.json()["candidates"][0]["content"]["parts"]
        return answer.usage.get("thoughtsTokenCount", 0), any(part.get("thought") for part in parts)

    assert (await thoughts(thinkingBudget=0)) == (0, False)
    assert (await thoughts(thinkingLevel="MINIMAL")) == (0, False)
    assert (await thoughts(thinkingBudget=5))[0] == 5
    assert (await thoughts(thinkingLevel="HIGH"))[0] >= 16
    count, are_shown = await thoughts(includeThoughts=True)
    assert count >= 8
    assert are_shown


async def test_stop_sequence_ends_the_answer_before_it(wire: Wire) -> None:
    whole = (await wire.generate(body("x"))).text
    answer = await wire.generate(body("x", generationConfig={"stopSequences": ["asked", "never there"]}))
    assert (answer.text, answer.json()["candidates"][0]["finishReason"]) == (whole.partition("asked")[0], "STOP")


async def test_candidates_are_as_many_as_asked_and_differ(wire: Wire) -> None:
    answer = await wire.generate(config(candidateCount=3))
    candidates = answer.json()["candidates"]
    assert [each["index"] for each in candidates] == [0, 1, 2]
    assert len({each["content"]["parts"][0]["text"] for each in candidates}) == 3


async def test_search_grounds_the_answer(wire: Wire) -> None:
    answer = await wire.generate(body("news of today", tools=[{"googleSearch": {}}]))
    assert answer.json()["candidates"][0]["groundingMetadata"]["webSearchQueries"] == ["news of today"]


async def test_media_are_counted_by_modality_and_size(wire: Wire) -> None:
    def media(mime: str, size: int) -> dict[str, Any]:
        return {"inlineData": {"mimeType": mime, "data": base64.b64encode(bytes(size)).decode()}}

    parts = [{"text": "look"}, media("image/png", 10), media("audio/mp3", 32_000), media("application/pdf", 250_000)]
    usage = (await wire.generate({"contents": [{"role": "user", "parts": parts}]})).usage
    details = {each["modality"]: each["tokenCount"] for each in usage["promptTokensDetails"]}
    assert details == {"TEXT": 1, "IMAGE": 1120, "AUDIO": 64, "DOCUMENT": 1680}
    assert usage["promptTokenCount"] == sum(details.values())
    low = {"contents": [{"role": "user", "parts": [media("image/png", 10)]}]}
    low["generationConfig"] = {"mediaResolution": "MEDIA_RESOLUTION_LOW"}  # type: ignore[assignment]
    assert (await wire.generate(low)).usage["promptTokensDetails"][1]["tokenCount"] == 280


async def test_older_model_needs_no_signature(wire: Wire) -> None:
    turns = [
        {"role": "user", "parts": [{"text": "log it"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ]
    asked = {"contents": turns, "tools": TOOLS}
    refused = await wire.generate(asked)
    assert refused.message.startswith("Function call is missing a thought_signature in functionCall parts.")
    await wire.order(models={"gemini-3.8-flash": {"needs_signatures": False}})
    assert (await wire.generate(asked)).status == 200


async def test_allowed_names_bound_the_choice(wire: Wire) -> None:
    tools = [{"functionDeclarations": [{"name": "log_weight"}, {"name": "log_sleep"}]}]
    choice = {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["log_sleep"]}}
    answer = await wire.generate(body("log my weight", tools=tools, toolConfig=choice))
    assert answer.json()["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "log_sleep"


async def test_prompt_beyond_the_models_limit_is_refused(wire: Wire) -> None:
    await wire.order(models={"gemini-3.8-flash": {"input_limit": 100}})
    answer = await wire.generate(body("word " * 100))
    expected = "The input token count (125) exceeds the maximum number of tokens allowed (100)."
    assert (answer.status, answer.message) == (400, expected)


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b"5", b'"x"', b"\xff\xfe", b'{"contents": ' + b"[" * 5000])
async def test_body_that_is_no_json_object_is_refused(wire: Wire, garbage: bytes) -> None:
    answer = await wire.post(path(), garbage)
    assert (answer.status, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
