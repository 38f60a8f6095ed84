"""Embeddings by the client, over the wire."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import pytest

from ngx_agents.errors import ModelError, ModelRequestError, ModelTimeout, ModelUnavailable
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.embedding import EmbedRequest
from ngx_agents.vertex.scope import CacheRule, Public, User
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import Emulator

MODELS = ["gemini-embedding-001", "gemini-embedding-2", "text-embedding-005"]
TEXTS = ("dormir mejor", "correr una maratón", "sleep better")


def client_of(emulator: Emulator, **fields: Any) -> VertexAIClient:
    settings = VertexSettings(base_url=emulator.base_url, project="p", openai_url=f"{emulator.base_url}/v1", **fields)
    return VertexAIClient(settings=settings, retry_delay=0.01)


def embed(*texts: str, model: str = MODELS[0], timeout_s: float = 5.0, **fields: Any) -> EmbedRequest:
    return EmbedRequest(texts=texts, model=model, deadline_s=time.monotonic() + timeout_s, **fields)


def cosine(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("provider", ["vertex", "openai"])
async def test_each_text_has_its_own_vector_in_its_place(emulator: Emulator, model: str, provider: Any) -> None:
    async with client_of(emulator, provider=provider) as client:
        together = await client.embed(embed(*TEXTS, model=model))
        alone = [(await client.embed(embed(text, model=model))).vectors[0] for text in TEXTS]
    for one, other in zip(together.vectors, alone, strict=True):
        assert cosine(one, other) > 0.999
    assert cosine(alone[0], alone[1]) < 0.9
    assert together.input_tokens > 0


async def test_more_texts_than_one_call_carries_keep_their_order(emulator: Emulator) -> None:
    texts = [f"texto número {n}" for n in range(230)]
    async with client_of(emulator) as client:
        made = await client.embed(embed(*texts))
        last = await client.embed(embed(texts[-1]))
    assert len(made.vectors) == 230
    assert cosine(made.vectors[-1], last.vectors[0]) > 0.999
    assert emulator.state["calls"] == 4


async def test_equal_texts_are_asked_for_once(emulator: Emulator) -> None:
    async with client_of(emulator) as client:
        made = await client.embed(embed("a b", "c d", "a b"))
    assert made.vectors[0] == made.vectors[2] != made.vectors[1]


async def test_kept_vectors_are_not_asked_for_again(emulator: Emulator) -> None:
    rule = CacheRule(scope=Public())
    async with client_of(emulator) as client:
        first = await client.embed(embed("uno", "dos", cache=rule))
        again = await client.embed(embed("dos", "uno", "tres", cache=rule))
        assert again.vectors[:2] == (first.vectors[1], first.vectors[0])
        await client.embed(embed("tres", "dos", cache=rule))
        assert emulator.state["calls"] == 2
        await client.embed(embed("tres", "dos", cache=CacheRule(scope=User("ana"))))
        assert emulator.state["calls"] == 3
        await client.embed(embed("tres", "dos", cache=rule, dimensions=64))
        await client.embed(embed("tres", "dos", cache=rule, task_type="query"))
        assert emulator.state["calls"] == 5


async def test_a_passing_failure_is_tried_again(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503})
    async with client_of(emulator) as client:
        assert len((await client.embed(embed("uno"))).vectors) == 1
    assert emulator.state["calls"] == 2


async def test_another_models_vectors_never_stand_in(emulator: Emulator) -> None:
    emulator.script({"kind": "status", "status": 503, "times": None})
    async with client_of(emulator, fallback_models=("text-embedding-005",)) as client:
        with pytest.raises(ModelUnavailable):
            await client.embed(embed("uno"))
    assert {each["model"] for each in emulator.state["requests"]} == {MODELS[0]}


@pytest.mark.parametrize("texts", [(), ("",), ("uno", "  ")])
async def test_nothing_to_embed_is_refused_before_any_call(emulator: Emulator, texts: tuple[str, ...]) -> None:
    async with client_of(emulator) as client:
        with pytest.raises(ModelRequestError):
            await client.embed(embed(*texts))
    assert emulator.state["calls"] == 0


@pytest.mark.parametrize("fault", [{"kind": "truncated"}, {"kind": "html"}, {"kind": "status", "status": 404}])
async def test_what_cannot_be_read_is_a_typed_error(emulator: Emulator, fault: dict[str, Any]) -> None:
    emulator.script({**fault, "times": None})
    async with client_of(emulator) as client:
        with pytest.raises(ModelError):
            await client.embed(embed("uno"))


async def test_the_deadline_holds_for_all_batches_together(emulator: Emulator) -> None:
    emulator.script({"kind": "stall_first", "delay_ms": 5000, "times": None})
    async with client_of(emulator) as client:
        began = time.monotonic()
        with pytest.raises(ModelTimeout):
            await client.embed(embed(*(f"t {n}" for n in range(1000)), timeout_s=0.3))
        assert time.monotonic() - began < 2  # of the three that ten batches would take
        await asyncio.sleep(0)
