"""Specialists whose models ask one another, over the wire with the emulator."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.settings import VertexSettings

from .memory_desk import MemoryDesk
from .routing_phrases import N, P, T
from .test_colleagues import WEIGHTS, apart
from .test_with_model import Emulator, emulator, running
from .turns import a_task, coaching_team, see

__all__ = ["emulator", "running"]

QUESTION = "¿Cuánta proteína para ganar fuerza?"
TRAIN = "quiero una rutina de gimnasio para ganar fuerza"


@pytest.fixture
async def model(running: str, emulator: Emulator) -> AsyncIterator[VertexAIClient]:
    async with VertexAIClient(settings=VertexSettings(project="test", base_url=running), cache_enabled=False) as client:
        yield client


def consult(agent: object = N, question: object = QUESTION, **more: Any) -> dict[str, Any]:
    return {
        "kind": "force_call",
        "name": "consult_colleague",
        "arguments": {"agent": agent, "question": question},
        **more,
    }


def told_to_the_model(emulator: Emulator) -> str:
    return json.dumps(emulator.state["last_request"]["contents"][-1], ensure_ascii=False)


def declared(emulator: Emulator) -> list[str]:
    return [
        each["name"]
        for tool in emulator.state["last_request"].get("tools", ())
        for each in tool["functionDeclarations"]
    ]


async def test_the_others_answer_goes_into_the_models_next_round(model: VertexAIClient, emulator: Emulator) -> None:
    emulator.script(consult())
    seen = await see(coaching_team(model, consults=True), a_task(TRAIN, agent=T))
    assert (seen.answered.source, seen.answered.agents, seen.answered.degraded) == ("model", (T,), False)
    assert emulator.state["calls"] == 3
    assert QUESTION in told_to_the_model(emulator)  # the emulator's answers repeat what they were asked
    assert seen.answered.usage.output_tokens > 0


async def test_nobody_is_offered_a_colleague_unless_it_is_switched_on(
    model: VertexAIClient, emulator: Emulator
) -> None:
    await see(coaching_team(model), a_task(TRAIN, agent=T))
    assert "consult_colleague" not in declared(emulator)
    await see(coaching_team(model, consults=True), a_task(TRAIN, agent=T))
    assert "consult_colleague" in declared(emulator)


async def test_whoever_is_asked_asks_nobody(model: VertexAIClient, emulator: Emulator) -> None:
    emulator.script(consult(), consult(T, "¿Y la rutina?", after=1))
    seen = await see(coaching_team(model, consults=True), a_task(TRAIN, agent=T))
    assert seen.answered.source == "model"
    assert emulator.state["calls"] == 4  # the one, the other twice, the one again: no third


@pytest.mark.parametrize(
    ("agent", "question", "said"),
    [("nobody", QUESTION, "no such colleague"), (T, QUESTION, "no such colleague"), (N, "", "1 to"), (N, 7, "1 to"),
     (N, "x" * 2001, "1 to"), ({}, QUESTION, "no such colleague")],
)  # fmt: skip
async def test_a_call_that_is_not_allowed_is_told_to_the_model(
    model: VertexAIClient, emulator: Emulator, agent: object, question: object, said: str
) -> None:
    emulator.script(consult(agent, question))
    seen = await see(coaching_team(model, consults=True), a_task(TRAIN, agent=T))
    assert seen.answered.source == "model"
    assert emulator.state["calls"] == 2
    assert said in told_to_the_model(emulator)


async def test_a_colleague_in_another_process_is_asked_there_and_what_it_makes_is_kept(
    model: VertexAIClient, emulator: Emulator
) -> None:
    emulator.script(consult(question="hazme un menú semanal"))
    async with apart(N, model, consults=True) as team:
        seen = await see(team, a_task(TRAIN, agent=T))
    assert seen.answered.source == "model"
    assert emulator.state["calls"] == 2  # the other one has no model: its template answered
    assert [artifact.kind for artifact in seen.artifacts] == ["MealPlan"]
    assert '"answer"' in told_to_the_model(emulator)


async def test_the_logs_that_a_colleague_reads_are_there_for_it(model: VertexAIClient, emulator: Emulator) -> None:
    emulator.script(consult(P, "¿cómo va mi peso?"))
    async with apart(P, model, consults=True) as team:
        seen = await see(team, a_task(TRAIN, agent=T), MemoryDesk(entries=WEIGHTS))
    assert [artifact.kind for artifact in seen.artifacts] == ["ProgressAnalysis"]
