from __future__ import annotations

import json
from statistics import median
from time import thread_time

import pytest

from ngx_agents.agents.tools.tool import Language
from ngx_agents.agents.tools.training_plan import TrainingPlan
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Profile

from .contexts import context, run

TOOL = TrainingPlan()
TEN_KM = "Quiero un plan de 8 semanas para correr 10 km, me duele la rodilla derecha"


async def test_ten_kilometres_in_eight_weeks_with_a_sore_right_knee() -> None:
    output = await run(TOOL, context(TEN_KM))
    facts = output.facts
    assert output.kind == "TrainingPlan"
    assert output.title == "Plan de 8 semanas: correr 10 km"
    assert facts["duration_weeks"] == 8
    assert [week["minutes"] for week in facts["weeks"]] == [75, 80, 85, 55, 90, 95, 100, 55]
    assert [week["deload"] for week in facts["weeks"]] == [number == 4 for number in range(1, 9)]
    assert facts["injuries"][0]["name"] == "rodilla derecha"
    assert "Bici o elíptica" in [session["name"] for session in facts["first_week"]["sessions"]]
    assert any("3/10" in rule for rule in facts["rules"])
    assert output.constraints == (
        "Lesión o molestia (rodilla derecha): sin saltos, sin bajadas, sin flexión profunda de rodilla con carga.",
    )
    assert any("Silbernagel" in source for source in facts["sources"])


async def test_the_artifact_holds_every_session_and_is_json() -> None:
    output = await run(TOOL, context(TEN_KM))
    assert output.data is not None
    assert len(output.data["weeks_detail"]) == 8
    assert all(len(week["sessions"]) == 3 for week in output.data["weeks_detail"])
    assert output.data["weeks_detail"][-1]["sessions"][-1]["name"] == "Día objetivo: 10 km"
    assert json.loads(json.dumps(output.data)) == output.data


@pytest.mark.parametrize(
    ("locale", "text", "title"),
    [
        ("es", "fuerza 12 semanas en el gimnasio", "Plan de 12 semanas: fuerza"),
        ("en", "12 weeks of strength at the gym", "12-week plan: strength"),
    ],
)
async def test_the_plan_speaks_the_users_language(locale: Language, text: str, title: str) -> None:
    output = await run(TOOL, context(text, locale=locale))
    assert output.title == title
    assert output.facts["discipline"] == "strength"


async def test_severe_pain_refers_and_binds_everyone() -> None:
    output = await run(TOOL, context("plan para correr 10 km, dolor de rodilla 8/10"))
    assert any("8/10" in limit and "valoración profesional" in limit for limit in output.constraints)
    assert "no hay carrera" in output.facts["reach"]
    assert output.facts["injuries"][0]["advice"] is None
    assert not any("se puede seguir" in rule for rule in output.facts["rules"])


async def test_age_gives_heart_rates_in_beats() -> None:
    output = await run(TOOL, context("plan para correr 10 km, tengo 40 años"))
    easy = output.facts["first_week"]["sessions"][0]
    assert easy["bpm"] == "108–130"
    assert any("Tanaka" in source for source in output.facts["sources"])


async def test_assumptions_are_named_and_clamped_wishes_too() -> None:
    assumed = (await run(TOOL, context("rutina de 2 semanas"))).facts["assumptions"]
    assert any("pediste 2 semanas" in item for item in assumed)
    assert any("principiante" in item for item in assumed)
    unknown = await run(TOOL, context("plan de fuerza", profile=Profile(injuries=["mal de ojo"])))
    assert any("mal de ojo" in item for item in unknown.facts["assumptions"])


async def test_a_careful_profile_adds_a_limit() -> None:
    output = await run(TOOL, context("plan para correr 5 km", profile=Profile(pregnant=True)))
    assert "Sin esfuerzos de alta intensidad sin visto bueno médico." in output.constraints


async def test_bad_arguments_name_their_field() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await TOOL.run({"goal": "run_10k", "duration_weeks": 100}, context(""))
    assert refused.value.field == "duration_weeks"


async def test_a_plan_takes_little_time() -> None:
    times = []
    for _ in range(9):
        before = thread_time()
        await run(TOOL, context(TEN_KM))
        times.append(thread_time() - before)
    assert median(times) < 0.01
