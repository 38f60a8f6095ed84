"""Specialists asked over the bus: here, in another process, and when they cannot be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from ngx_agents.a2a.memory_carrier import Exchange, MemoryCarrier
from ngx_agents.a2a.server import A2AServer
from ngx_agents.agents.away_desk import AwayDesk
from ngx_agents.agents.errand import AwayErrand
from ngx_agents.agents.specialist import Specialist
from ngx_agents.agents.turn import AgentEvent, TextDelta
from ngx_agents.errors import ConsentRequired, JournalUnavailable, LeaseLost
from ngx_agents.state.model import LogEntry, Message
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from tests.a2a.teams import until

from .memory_desk import MemoryDesk
from .routing_phrases import N, P, T
from .turns import NOW, Seen, TestTeam, a_task, coaching_team, see

PLAN = "Quiero un plan de entrenamiento de fuerza de 8 semanas"
BOTH = "Quiero un plan de entrenamiento de 8 semanas y un menú semanal para bajar de grasa"
WEIGHT = "registra mi peso: hoy pesé 81.2 kg"
WEIGHTS = tuple(
    LogEntry(id=f"l{day}", kind="weight", at=NOW - day * 86_400.0, data={"kg": 82.0 + day / 10}) for day in (20, 10, 5)
)


@asynccontextmanager
async def apart(
    away: str, model: VertexAIClient | None = None, *, metrics: Metrics | None = None, **options: Any
) -> AsyncGenerator[TestTeam]:
    """A team whose specialist `away` runs behind another bus, without a model."""
    exchange, here = Exchange(), tuple({N, T, P} - {away})
    far = coaching_team(bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(away,))
    bus = A2AServer(carrier=MemoryCarrier(exchange), metrics=metrics)
    near = coaching_team(model, metrics=metrics, bus=bus, agents=here, **options)
    async with far.bus:
        await asyncio.sleep(0)
        yield near


class Refusing(MemoryDesk):
    """Whose every effect is refused."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    async def add_log(self, kind, at, data, key) -> None:
        raise self._error


def told(seen: Seen) -> list[AgentEvent]:
    """Its events without the ids of what it made."""
    return [
        msgspec.structs.replace(event, artifact=msgspec.structs.replace(event.artifact, id="", created_at=0.0))
        if hasattr(event, "artifact")
        else event
        for event in seen.events
    ]


@pytest.mark.parametrize(("away", "text"), [(T, PLAN), (N, "hazme un menú semanal"), (N, BOTH), (P, WEIGHT)])
async def test_a_specialist_elsewhere_answers_as_one_here(away: str, text: str) -> None:
    here, there = MemoryDesk(entries=WEIGHTS), MemoryDesk(entries=WEIGHTS)
    expected = await see(coaching_team(), a_task(text), here)
    async with apart(away) as team:
        seen = await see(team, a_task(text), there)
    assert told(seen) == told(expected)
    assert seen.answered.degraded is False
    assert there.added == here.added
    assert sorted(there.saved) == sorted(here.saved)


async def test_what_an_earlier_attempt_left_is_not_done_again_elsewhere() -> None:
    first = MemoryDesk()
    async with apart(T) as team:
        before = await see(team, a_task(PLAN), first)
    second = MemoryDesk(remembered=first.saved)
    async with apart(T) as team:
        after = await see(team, a_task(PLAN), second)
    assert [artifact.id for artifact in after.artifacts] == [artifact.id for artifact in before.artifacts]
    assert after.artifacts
    assert first.saved
    assert not second.saved


async def test_an_effect_is_performed_before_the_text_that_tells_of_it() -> None:
    desk = MemoryDesk()
    async with apart(P) as team, team.bus:
        async for event in team.answer(a_task(WEIGHT), desk):
            if isinstance(event, TextDelta):
                assert [kind for kind, _, _ in desk.added] == ["weight"]


async def test_an_effect_that_the_user_did_not_agree_to_is_not_told_as_done() -> None:
    metrics = Metrics()
    async with apart(P, metrics=metrics) as team:
        expected = await see(coaching_team(), a_task(WEIGHT), Refusing(ConsentRequired("health")))
        seen = await see(team, a_task(WEIGHT), Refusing(ConsentRequired("health")))
    assert seen.text == expected.text
    assert seen.answered.degraded
    assert f'ngx_agent_fallbacks_total{{agent="{P}",reason="ConsentRequired"}} 1.0' in metrics.render().decode()


@pytest.mark.parametrize("error", [LeaseLost("retaken"), JournalUnavailable("away")])
async def test_what_no_fallback_can_cure_ends_the_answer(error: Exception) -> None:
    async with apart(P) as team, team.bus:
        with pytest.raises(type(error)):
            _ = [event async for event in team.answer(a_task(WEIGHT), Refusing(error))]
        await until(lambda: not team.bus.pending)


async def test_an_absent_specialist_is_answered_for_by_its_tools() -> None:
    expected, metrics = await see(coaching_team(), a_task(PLAN)), Metrics()
    for bus in (A2AServer(), A2AServer(carrier=MemoryCarrier())):
        seen = await see(coaching_team(metrics=metrics, bus=bus, agents=(N, P)), a_task(PLAN))
        assert seen.text == expected.text
        assert [artifact.kind for artifact in seen.artifacts] == ["TrainingPlan"]
        assert (seen.answered.source, seen.answered.degraded) == ("template", True)
    told = metrics.render().decode()
    assert f'ngx_agent_fallbacks_total{{agent="{T}",reason="AgentUnknown"}} 1.0' in told
    assert f'ngx_agent_fallbacks_total{{agent="{T}",reason="AgentAbsent"}} 1.0' in told


async def test_one_absent_of_two_leaves_the_other_as_it_is() -> None:
    seen = await see(coaching_team(bus=A2AServer(), agents=(N, P)), a_task(BOTH))
    assert set(seen.answered.agents) == {T, N}
    assert {artifact.kind for artifact in seen.artifacts} == {"TrainingPlan", "MealPlan"}
    assert seen.answered.degraded


async def test_a_busy_specialist_is_answered_for_and_the_others_go_on() -> None:
    gate = asyncio.Event()

    class Slow(MemoryDesk):
        async def checkpoint(self, key: str, value: bytes) -> None:
            await gate.wait()
            await super().checkpoint(key, value)

    team = coaching_team(bus=A2AServer(worker_threads=1, message_queue_size=1, message_timeout=0.1))
    async with team.bus, asyncio.TaskGroup() as group:

        async def one(desk: MemoryDesk) -> Seen:
            return Seen([event async for event in team.answer(a_task(PLAN), desk)])

        slow = group.create_task(one(Slow()))
        await asyncio.sleep(0.05)
        waited = await one(MemoryDesk())
        assert waited.answered.degraded
        assert waited.artifacts
        gate.set()
        assert not (await slow).answered.degraded


async def test_a_specialist_that_breaks_off_elsewhere_is_answered_for_with_what_it_had_made(monkeypatch) -> None:
    answer = Specialist.answer
    broken: list[object] = []

    async def breaking(self, brief, work):
        async for event in answer(self, brief, work):
            yield event
            if isinstance(event, TextDelta) and isinstance(brief.desk, AwayDesk):
                broken.append(event)
                raise RuntimeError("the secret reason")

    monkeypatch.setattr(Specialist, "answer", breaking)
    desk = MemoryDesk()
    async with apart(T) as team:
        seen = await see(team, a_task(PLAN), desk)
    assert broken
    assert seen.resets == ["agent_failed"]
    assert seen.answered.degraded
    assert [artifact.kind for artifact in seen.artifacts] == ["TrainingPlan"]
    assert len(desk.saved) == 1


async def test_the_deadline_ends_a_specialist_elsewhere_early_enough_to_answer_for_it(monkeypatch) -> None:
    stopped = asyncio.Event()

    async def endless(self, brief, work):
        try:
            yield work.say("first")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    monkeypatch.setattr(Specialist, "answer", endless)
    async with apart(T) as team:
        seen = await see(team, a_task(PLAN, timeout_s=2.0))
        assert (seen.resets, seen.answered.degraded) == (["agent_failed"], True)
        await asyncio.wait_for(stopped.wait(), 10.0)


async def test_a_cancel_reaches_every_specialist_within_a_second(monkeypatch) -> None:
    begun, stopped = set(), set()

    async def endless(self, brief, work):
        begun.add(work.agent)
        try:
            yield work.say("first")
            await asyncio.Event().wait()
        finally:
            stopped.add(work.agent)

    monkeypatch.setattr(Specialist, "answer", endless)
    async with apart(T) as team, team.bus:

        async def whole() -> None:
            async for _ in team.answer(a_task(BOTH), MemoryDesk()):
                pass

        running = asyncio.ensure_future(whole())
        await until(lambda: begun == {T, N})
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await until(lambda: stopped == {T, N}, within_s=1.0)
        await until(lambda: not team.bus.pending)


async def test_no_more_history_travels_than_a_prompt_or_a_tool_looks_at() -> None:
    history = tuple(
        Message(
            id=f"m{number}", seq=number, role="user" if number % 2 else "assistant", text="x" * 900, turn_id="",
            created_at=0.0, derived=object(),
        )
        for number in range(1, 201)
    )  # fmt: skip
    sent: list[AwayErrand] = []
    exchange = Exchange()
    far = A2AServer(carrier=MemoryCarrier(exchange))

    async def keep(message):
        sent.append(message.payload)
        yield None

    far.register(T, keep, accepts=AwayErrand)
    async with far:
        await asyncio.sleep(0)
        team = coaching_team(bus=A2AServer(carrier=MemoryCarrier(exchange)), agents=(N, P))
        await see(team, a_task(PLAN, history=history))
    errand = sent[0]
    kept = [message.seq for message in errand.task.history]
    assert kept[-1] == 200
    assert kept == sorted(kept)
    assert sum(message.role == "user" for message in errand.task.history) == 23
    assert len(msgspec.msgpack.encode(errand)) < 60_000


async def test_a_tool_that_reads_what_did_not_come_along_fails_loudly() -> None:
    errand = AwayErrand(
        task=a_task(PLAN), language="es", words=(), cautions=(), guidance=(), skills={}, history_tokens=10,
        is_streamed=True, logs={}, remembered={},
    )  # fmt: skip
    with pytest.raises(LookupError):
        await AwayDesk(errand).logs("weight", 0.0)
