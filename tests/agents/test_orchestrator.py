"""The team without a model: what the agents' own tools and templates answer."""

from __future__ import annotations

import asyncio

import pytest

from ngx_agents.agents.turn import AgentCompleted, AgentStarted, TextDelta
from ngx_agents.errors import DeadlineExceeded, LeaseLost
from ngx_agents.state.model import LogEntry, Message, Profile
from ngx_agents.telemetry.metrics import Metrics

from .memory_desk import MemoryDesk
from .routing_phrases import N, P, T
from .turns import NOW, a_task, coaching_team, see

TEAM = coaching_team()
BOTH = "Quiero un plan de entrenamiento de 8 semanas y un menú semanal para bajar de grasa"


async def test_a_red_flag_ends_the_turn_before_any_agent() -> None:
    metrics, desk = Metrics(), MemoryDesk()
    seen = await see(coaching_team(metrics=metrics), a_task("quiero entrenar pero tengo dolor de pecho"), desk)
    assert (seen.answered.source, seen.answered.rung) == ("template", "safety")
    assert seen.answered.agents == ("orchestrator",)
    assert "911" in seen.text
    assert not seen.artifacts
    assert not desk.saved
    assert 'ngx_red_flags_total{flag="chest_pain"} 1.0' in metrics.render().decode()


async def test_a_red_flag_wins_over_an_explicit_agent() -> None:
    seen = await see(TEAM, a_task("I want to kill myself", agent=N, locale="en-US"))
    assert seen.answered.rung == "safety"
    assert "988" in seen.text


def test_a_message_that_cannot_be_taken_still_gets_the_words_of_its_red_flag() -> None:
    assert "988" in (TEAM.first_aid("I want to kill myself", "en-US") or "")
    assert "112" in (TEAM.first_aid("me duele mucho el pecho", "es-ES") or "")
    assert TEAM.first_aid("I want to lift more", "en-US") is None


async def test_a_training_request_gets_a_computed_plan() -> None:
    seen = await see(TEAM, a_task("Quiero un plan de entrenamiento de fuerza de 8 semanas"))
    assert seen.answered.agents == (T,)
    assert (seen.answered.source, seen.answered.rung, seen.answered.degraded) == ("template", "template", False)
    assert [artifact.kind for artifact in seen.artifacts] == ["TrainingPlan"]
    assert seen.answered.model is None
    assert len(seen.deltas) > 1


async def test_events_name_who_started_and_who_completed() -> None:
    seen = await see(TEAM, a_task("hazme un menú semanal"))
    assert seen.events[0] == AgentStarted(N)
    assert seen.events[-2] == AgentCompleted(N)
    assert all(event.agent == N for event in seen.events if isinstance(event, TextDelta))


async def test_two_subjects_are_answered_by_both_specialists_in_one_text() -> None:
    seen = await see(TEAM, a_task(BOTH))
    assert set(seen.answered.agents) == {T, N}
    assert {artifact.kind for artifact in seen.artifacts} == {"TrainingPlan", "MealPlan"}
    assert seen.answered.source == "template"
    started = [event.agent for event in seen.events if isinstance(event, AgentStarted)]
    assert set(started) == {T, N, "orchestrator"}


async def test_an_english_message_is_answered_in_english() -> None:
    spanish = await see(TEAM, a_task("Quiero un plan de entrenamiento"))
    english = await see(TEAM, a_task("I want a training plan"))
    assert english.answered.agents == spanish.answered.agents
    assert english.text != spanish.text
    assert (await see(TEAM, a_task("I want a training plan", locale="es-MX"))).text[:20] == spanish.text[:20]


async def test_a_greeting_is_answered_by_the_orchestrator_alone() -> None:
    seen = await see(TEAM, a_task("hola"))
    assert seen.answered.agents == ("orchestrator",)
    assert seen.answered.source == "template"
    assert not seen.artifacts


async def test_what_nobody_claims_gets_the_fallback_reply() -> None:
    seen = await see(TEAM, a_task("cuál es la capital de Francia"))
    assert seen.answered.agents == ("orchestrator",)
    assert not seen.answered.degraded


async def test_an_explicit_agent_is_not_questioned() -> None:
    seen = await see(TEAM, a_task("ayúdame con lo mío", agent=T))
    assert seen.answered.agents == (T,)


async def test_a_short_follow_up_stays_with_the_agent_that_answered_last() -> None:
    last = Message(id="m2", seq=2, role="assistant", text="Tu menú…", created_at=0.0, turn_id="t0", agent=N)
    seen = await see(TEAM, a_task("¿y para el martes?", history=[last]))
    assert seen.answered.agents == (N,)


async def test_logging_a_weight_is_an_effect_that_happens_once() -> None:
    desk = MemoryDesk()
    seen = await see(TEAM, a_task("anota que hoy peso 81.2 kg"), desk)
    assert seen.answered.agents == (P,)
    assert [(kind, data["kg"]) for kind, _, data in desk.added] == [("weight", 81.2)]


async def test_progress_is_read_from_the_users_own_entries() -> None:
    entries = [
        LogEntry(id=f"l{week}", kind="weight", at=NOW - week * 7 * 86400, data={"kg": 80.0 + week})
        for week in range(8, -1, -1)
    ]
    seen = await see(TEAM, a_task("¿cómo voy con mi peso?"), MemoryDesk(entries=entries))
    assert seen.answered.agents == (P,)
    assert "80" in seen.text


async def test_a_caution_adds_a_referral_to_the_answer() -> None:
    task = a_task("Quiero un plan de entrenamiento", profile=Profile(age=16, conditions=["asma"]))
    seen = await see(TEAM, task)
    assert "profesional" in seen.text or "médico" in seen.text


def said_before(*texts: str) -> list[Message]:
    """A conversation in which the user wrote these, each answered."""
    return [
        Message(id=f"m{seq}-{role}", seq=seq, role=role, text=text, created_at=0.0, turn_id=f"h{seq}", agent=agent)
        for seq, question in enumerate(texts)
        for role, text, agent in (("user", question, None), ("assistant", "Vale.", "orchestrator"))
    ]


@pytest.mark.parametrize(
    ("before", "text", "reminds"),
    [
        ("me duele el pecho", "¿Y un plan para correr 5 km?", "urgencia"),
        ("my chest hurts", "And a plan to run 5 km?", "emergency"),
        ("me provoco el vómito después de cenar", "hazme un menú semanal", "médico"),
    ],
)
async def test_a_plan_is_held_in_the_turns_after_a_red_flag(before: str, text: str, reminds: str) -> None:
    seen = await see(TEAM, a_task(text, history=said_before(before)))
    assert not seen.artifacts
    assert seen.answered.rung == "safety"
    assert reminds in seen.text.split("\n\n")[0]


async def test_what_a_flag_does_not_hold_is_answered_after_the_reminder() -> None:
    seen = await see(TEAM, a_task("hazme un menú semanal", history=said_before("me duele el pecho", "hola")))
    assert seen.answered.agents == (N,)
    assert seen.text.startswith("**Antes de nada:**")
    assert seen.text.count("Antes de nada") == 1


async def test_a_flag_holds_no_more_once_a_doctor_has_seen_to_it() -> None:
    cleared = await see(
        TEAM, a_task("ya me vio el médico y puedo entrenar: plan para correr", history=said_before("me duele el pecho"))
    )
    assert [artifact.kind for artifact in cleared.artifacts] == ["TrainingPlan"]
    later = said_before("me duele el pecho", "ya me revisó el médico, todo bien")
    assert (await see(TEAM, a_task("plan para correr 5 km", history=later))).artifacts


async def test_thanks_after_a_red_flag_is_only_thanked() -> None:
    seen = await see(TEAM, a_task("muchas gracias", history=said_before("me duele el pecho")))
    assert "Antes de nada" not in seen.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("estoy embarazada de 20 semanas y quiero un plan de fuerza", "con tu médico"),
        ("tuve un infarto hace un mes, quiero plan de correr", "con tu médico"),
        ("tengo hipertensión y quiero un menú semanal", "médico"),
        ("tengo fiebre, hazme una rutina de entrenamiento", "con tu médico"),
        ("I had a heart attack last year and want a strength plan", "talk to your doctor"),
    ],
)
async def test_a_condition_ends_the_answer_with_the_way_to_a_doctor(text: str, says: str) -> None:
    assert says in (await see(TEAM, a_task(text))).text


async def test_a_condition_told_earlier_holds_in_the_whole_conversation() -> None:
    before = said_before("tuve un infarto hace un mes", "hola", "¿cómo estás?", "gracias", "ok")
    seen = await see(TEAM, a_task("Quiero un plan de fuerza de 8 semanas", history=before))
    assert "con tu médico" in seen.text


async def test_every_constraint_of_the_tools_is_in_the_answer() -> None:
    profile = Profile(injuries=["rodilla"], allergies=["cacahuate"], weight_kg=80, height_cm=175, age=30)
    seen = await see(TEAM, a_task(BOTH, profile=profile))
    assert "rodilla" in seen.text
    assert "cacahuate" in seen.text


async def test_a_retaken_turn_keeps_what_was_made() -> None:
    first = MemoryDesk()
    task = a_task(BOTH)
    before = await see(TEAM, task, first)
    second = MemoryDesk(remembered=first.saved)
    after = await see(TEAM, task, second)
    assert after.artifacts == before.artifacts
    assert after.text == before.text
    assert not second.saved


async def test_a_retaken_single_turn_does_not_run_its_tool_again() -> None:
    first = MemoryDesk()
    before = await see(TEAM, a_task("hazme un menú semanal"), first)
    assert any(key.startswith(f"tool:{N}:") for key in first.saved)
    second = MemoryDesk(remembered=first.saved)
    after = await see(TEAM, a_task("hazme un menú semanal"), second)
    assert after.artifacts == before.artifacts
    assert not second.saved


@pytest.mark.parametrize("text", ["hazme un menú semanal", BOTH])
async def test_a_lost_lease_ends_the_turn(text: str) -> None:
    desk = MemoryDesk()
    desk.is_lost = True
    with pytest.raises(LeaseLost):
        await see(TEAM, a_task(text), desk)


async def test_nothing_starts_after_the_deadline() -> None:
    with pytest.raises(DeadlineExceeded):
        await see(TEAM, a_task("hola", timeout_s=-1.0))


async def test_turns_do_not_disturb_each_other() -> None:
    texts = ["hazme un menú semanal", "quiero un plan de entrenamiento", "hola", BOTH]
    alone = [(await see(TEAM, a_task(text))).text for text in texts if text != "hola"]
    together = await asyncio.gather(*(see(TEAM, a_task(text)) for text in texts if text != "hola"))
    assert [seen.text for seen in together] == alone


def test_the_cards_name_the_orchestrator_first_and_then_every_specialist() -> None:
    ids = [card.id for card in TEAM.cards()]
    assert ids[0] == "orchestrator"
    assert set(ids) >= {T, N, P}
    assert all(TEAM.knows(each) for each in ids)
    assert not TEAM.knows("nobody")


@pytest.mark.parametrize("text", ["_me duele mucho el pecho_", "**me duele** mucho el **pecho**", "`me quiero morir`"])
def test_emphasis_hides_no_red_flag(text: str) -> None:
    assert TEAM.first_aid(text, "es-ES") is not None
