"""What the dialects write, read by the emulator, which refuses fields and values that Vertex does not know."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ngx_agents.errors import ModelBlocked
from ngx_agents.vertex.content import Content, Media, ModelReply, ModelRequest, Text, ToolResult
from ngx_agents.vertex.controls import SafetySetting, Thinking
from ngx_agents.vertex.dialects.embedding import calls_for, decode, joined
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.embedding import Embeddings, EmbedLimits, EmbedRequest
from tests.vertex.conftest import WEIGHT_TOOL, Emulator, ask, user

MODELS = "/v1/projects/p/locations/global/publishers/google/models"
MODEL = "gemini-3.8-flash"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)
PDF = b"%PDF-1.7\n" + bytes(64)
SCHEMA = {"type": "object", "properties": {"kg": {"type": "number"}}, "required": ["kg"]}


def asked(emulator: Emulator, request: ModelRequest, *, model: str = MODEL) -> ModelReply:
    dialect = VertexDialect("global")
    body = dialect.encode(request, model=model, streams=False)
    status, found = emulator.post(f"{MODELS}/{model}:generateContent", body)
    assert status == 200, found
    return dialect.decode(json.dumps(found).encode(), model=model)


@pytest.mark.parametrize(
    "fields",
    [
        {"top_p": 0.5, "top_k": 7, "seed": 3, "stop_sequences": ("FIN",), "labels": {"team": "coach"}},
        {"thinking": Thinking(level="low", include=True)},
        {"safety": (SafetySetting("harassment", "off"), SafetySetting("dangerous_content", "only_high"))},
        {"tools": (WEIGHT_TOOL,), "tool_choice": "none"},
        {"contents": (Content(role="user", parts=(Media(mime_type="image/png", data=PNG), Text(text="?"))),)},
        {"contents": (Content(role="user", parts=(Media(mime_type="application/pdf", uri="gs://b/o.pdf"),)),)},
        {"contents": (user("q"), Content(role="model", parts=(Text(text="Duerme"),)))},
    ],
    ids=["sampling", "thinking", "safety", "no tools", "image", "document", "begun"],
)
def test_field_is_accepted(emulator: Emulator, fields: dict[str, Any]) -> None:
    assert not asked(emulator, ask(**fields)).is_empty


@pytest.mark.parametrize("model", ["gemini-3.8-flash", "gemini-3.1-pro-preview", "gemini-4-argon"])
def test_thinking_is_said_as_the_model_takes_it(emulator: Emulator, model: str) -> None:
    request = ask(thinking=Thinking(level="low", budget_tokens=512, include=True))
    assert asked(emulator, request, model=model).text


def test_forced_tool_is_called(emulator: Emulator) -> None:
    request = ask("hola", tools=(WEIGHT_TOOL,), tool_choice=("log_weight",))
    assert [call.name for call in asked(emulator, request).calls] == ["log_weight"]


def test_answer_meets_its_schema(emulator: Emulator) -> None:
    answer = json.loads(asked(emulator, ask("I weigh 81 kg", response_schema=SCHEMA)).text)
    assert isinstance(answer["kg"], int | float)


def test_usage_tells_traffic_and_modalities(emulator: Emulator) -> None:
    parts = (Media(mime_type="image/png", data=PNG), Text(text="?"))
    reply = asked(emulator, ask(contents=(Content(role="user", parts=parts),)))
    assert reply.traffic_type is not None
    assert {each.modality for each in reply.usage.input_details} == {"text", "image"}
    assert sum(each.tokens for each in reply.usage.input_details) == reply.usage.input_tokens


def test_signed_call_goes_back_to_its_model_and_unsigned_to_another(emulator: Emulator) -> None:
    request = ask("Log my weight: 80 kg today", tools=(WEIGHT_TOOL,))
    called = asked(emulator, request)
    (call,) = called.calls
    assert call.signature
    result = Content(role="user", parts=(ToolResult(name=call.name, response={"ok": True}, id=call.id),))
    history = ask(contents=(*request.contents, called.content, result), tools=(WEIGHT_TOOL,))
    for model in (MODEL, "gemini-3.7-flash"):
        assert asked(emulator, history, model=model).text


def test_count_is_accepted(emulator: Emulator) -> None:
    dialect = VertexDialect("global")
    request = ask(system="s", tools=(WEIGHT_TOOL,), tool_choice="any", labels={"a": "b"}, top_k=3)
    status, found = emulator.post(f"{MODELS}/{MODEL}:countTokens", dialect.encode_count(request, model=MODEL))
    assert status == 200, found
    assert dialect.decode_count(json.dumps(found).encode()) > 5


def test_blocked_prompt_is_blocked(emulator: Emulator) -> None:
    emulator.script({"kind": "blocked_prompt"})
    with pytest.raises(ModelBlocked):
        asked(emulator, ask())


def test_openai_fields_are_accepted(emulator: Emulator) -> None:
    dialect = OpenAIDialect()
    parts = (Text(text="Look"), Media(mime_type="image/png", data=PNG))
    request = ask(
        contents=(Content(role="user", parts=parts),),
        tools=(WEIGHT_TOOL,),
        tool_choice="none",
        response_schema=SCHEMA,
        top_p=0.5,
        seed=3,
        stop_sequences=("FIN",),
        thinking=Thinking(level="low"),
    )
    status, found = emulator.post("/v1/chat/completions", dialect.encode(request, model="m", streams=False))
    assert status == 200, found
    assert not dialect.decode(json.dumps(found).encode(), model="m").is_empty


TEXTS = tuple(f"text number {number}" for number in range(7))
LIMITS = EmbedLimits(predict_texts=3, batch_texts=3, openai_texts=3)


def embedded(emulator: Emulator, *texts: str, model: str, **fields: Any) -> Embeddings:
    is_openai = model == "nomic"
    request = EmbedRequest(texts=texts, model=model, deadline_s=1.0, **fields)
    parts = []
    for call in calls_for(request, provider="openai" if is_openai else "vertex", limits=LIMITS):
        path = "/v1/embeddings" if is_openai else f"{MODELS}/{model}:{call.operation}"
        status, found = emulator.post(path, call.body)
        assert status == 200, found
        parts.append(decode(call, json.dumps(found).encode()))
    return joined(request, parts)


@pytest.mark.parametrize("model", ["gemini-embedding-001", "gemini-embedding-2", "text-embedding-005", "nomic"])
def test_every_text_gets_its_own_vector_in_its_place(emulator: Emulator, model: str) -> None:
    together = embedded(emulator, *TEXTS, model=model, dimensions=256, task_type="document")
    assert len(set(together.vectors)) == len(TEXTS)
    assert {len(vector) for vector in together.vectors} == {256}
    assert together.input_tokens > 0
    alone = [embedded(emulator, text, model=model, dimensions=256, task_type="document").vectors[0] for text in TEXTS]
    assert list(together.vectors) == alone
