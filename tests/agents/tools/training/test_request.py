from __future__ import annotations

from time import process_time
from typing import Any

import pytest

from ngx_agents.agents.tools.training.injuries import Injury
from ngx_agents.agents.tools.training.request import arguments_from, read_weeks, request_from
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Profile

KNEE = [{"area": "knee", "side": "right"}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "Quiero un plan de 8 semanas para correr 10 km, me duele la rodilla derecha",
            {"goal": "run_10k", "duration_weeks": 8, "injuries": KNEE},
        ),
        (
            "I want an 8-week plan to run 10 km, my right knee hurts",
            {"goal": "run_10k", "duration_weeks": 8, "injuries": KNEE},
        ),
        ("plan de ocho semanas para diez kilómetros", {"goal": "run_10k", "duration_weeks": 8}),
        ("eight-week plan for a 10k", {"goal": "run_10k", "duration_weeks": 8}),
        ("media maratón en 4 meses, llevo 3 semanas parado", {"goal": "run_half", "duration_weeks": 16}),
        ("12 week marathon plan", {"goal": "run_marathon", "duration_weeks": 12}),
        ("5k en un mes y medio, nunca he corrido", {"goal": "run_5k", "duration_weeks": 6, "level": "beginner"}),
        (
            "fuerza 3 días por semana con mancuernas, intermedio",
            {"goal": "strength", "sessions_per_week": 3, "equipment": ["dumbbell"], "level": "intermediate"},
        ),
        (
            "build muscle at the gym, four times a week, advanced",
            {
                "goal": "hypertrophy",
                "sessions_per_week": 4,
                "level": "advanced",
                "equipment": ["barbell", "dumbbell", "machine", "band", "pull_up_bar"],
            },
        ),
        ("rutina en casa sin equipo dos veces por semana", {"sessions_per_week": 2, "equipment": []}),
        ("plan de 99 semanas, 9 días a la semana", {"duration_weeks": 24, "sessions_per_week": 6}),
        ("plan de 2 semanas", {"duration_weeks": 4}),
        ("bajar 10 kilos y comer 5 kcal", {}),
        ("", {}),
    ],
)
def test_what_is_said_becomes_arguments(text: str, expected: dict[str, Any]) -> None:
    assert arguments_from(text, Profile()) == expected


def test_the_profile_fills_what_the_text_leaves_out() -> None:
    profile = Profile(
        goals=["correr una media maratón"],
        experience="advanced",
        equipment=["mancuernas", "bandas"],
        injuries=["tendinitis de aquiles"],
    )
    assert arguments_from("hazme un plan", profile) == {
        "goal": "run_half",
        "level": "advanced",
        "equipment": ["dumbbell", "band"],
        "injuries": [{"area": "foot"}],
    }


@pytest.mark.parametrize(
    "text", ["hace 6 semanas que no entreno", "I ran a race 3 weeks ago", "my knee has been in pain for 3 weeks"]
)
def test_time_past_is_no_duration(text: str) -> None:
    assert read_weeks(text) is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"goal": "fly"}, "goal"),
        ({"duration_weeks": 3}, "duration_weeks"),
        ({"duration_weeks": "8"}, "duration_weeks"),
        ({"sessions_per_week": 7}, "sessions_per_week"),
        ({"equipment": ["trebuchet"]}, "equipment"),
        ({"equipment": "dumbbell"}, "equipment"),
        ({"injuries": [{"area": "soul"}]}, "injuries.area"),
        ({"injuries": [{"area": "knee", "pain": 11}]}, "injuries.pain"),
        ({"injuries": "knee"}, "injuries"),
        ({"level": "olympic"}, "level"),
    ],
)
def test_bad_arguments_are_refused_by_field(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request_from(arguments, "", Profile())
    assert refused.value.field == field


def test_a_model_cannot_drop_an_injury_nor_soften_its_pain() -> None:
    text = "me duele la rodilla derecha 8/10"
    assert request_from({"goal": "run_10k", "injuries": []}, text, Profile()).injuries == (
        Injury(area="knee", side="right", pain=8),
    )
    softened = {"goal": "run_10k", "injuries": [{"area": "knee", "pain": 2}]}
    assert request_from(softened, text, Profile()).injuries == (Injury(area="knee", side="right", pain=8),)


@pytest.mark.parametrize(
    "profile", [Profile(age=15), Profile(pregnant=True), Profile(conditions=["asma"]), Profile(medication=["x"])]
)
def test_cautions_of_the_profile_make_the_plan_careful(profile: Profile) -> None:
    assert request_from({}, "", profile).careful
    assert not request_from({}, "", Profile(age=40)).careful


@pytest.mark.parametrize("piece", ["a", " ", "1", "no ", "me duele ", "rodilla,", "1 semana ", "(", "peso 1", "de de "])
def test_a_huge_message_is_read_in_bounded_time(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    before = process_time()
    arguments_from(text, Profile())
    assert process_time() - before < 0.5


@pytest.mark.parametrize(
    ("earlier", "text", "expected"),
    [
        (
            ("I want a 12 week marathon plan, my left Achilles hurts",),
            "make it 5 days a week",
            {"goal": "run_marathon", "duration_weeks": 12, "sessions_per_week": 5},
        ),
        (("quiero correr 10 km", "mejor 5 km"), "en 6 semanas", {"goal": "run_5k", "duration_weeks": 6}),
        ((), "estoy embarazada de 20 semanas y quiero un plan de fuerza", {"goal": "strength"}),
        ((), "ganar músculo, 5 días", {"goal": "hypertrophy", "sessions_per_week": 5}),
        ((), "ganar músculo, me lesioné hace 5 días", {"goal": "hypertrophy"}),
    ],
)
def test_what_was_asked_before_holds_until_it_is_asked_otherwise(
    earlier: tuple[str, ...], text: str, expected: dict[str, object]
) -> None:
    found = arguments_from(text, Profile(), earlier)
    found.pop("injuries", None)
    assert found == expected


def test_an_injury_told_before_stands_until_it_is_well_again() -> None:
    told = ("Me operaron del hombro izquierdo", "me duele la rodilla derecha")
    areas = {injury.area for injury in request_from({}, "plan de fuerza", Profile(), told).injuries}
    assert areas == {"shoulder", "knee"}
    healed = request_from({}, "ya no me duele la rodilla, dame un plan", Profile(), told)
    assert {injury.area for injury in healed.injuries} == {"shoulder"}
    listed = request_from({}, "my knee is fine now", Profile(injuries=["rodilla derecha"]))
    assert {injury.area for injury in listed.injuries} == {"knee"}


def test_a_state_of_health_told_before_keeps_the_plan_moderate() -> None:
    assert request_from({}, "plan de correr", Profile(), ("tuve un infarto hace un mes",)).careful
    assert not request_from({}, "plan de correr", Profile(), ("tuve un buen mes",)).careful
