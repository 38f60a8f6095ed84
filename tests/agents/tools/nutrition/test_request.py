from __future__ import annotations

from typing import Any

import pytest

from ngx_agents.agents.tools.nutrition.request import arguments_from, request_from
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Profile


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("quiero bajar de peso", {"goal": "lose_fat"}),
        ("I want to lose fat with 5 meals", {"goal": "lose_fat", "meals_per_day": 5}),
        ("menú para ganar músculo en tres comidas", {"goal": "gain_muscle", "meals_per_day": 3}),
        ("menú vegano sin cacahuates", {"allergies": ["peanuts"], "restrictions": ["vegan"]}),
        ("qué ceno hoy", {}),
        ("", {}),
    ],
)
def test_what_is_said_becomes_arguments(text: str, expected: dict[str, Any]) -> None:
    assert arguments_from(text, Profile()) == expected


def test_the_profiles_goals_fill_in() -> None:
    assert arguments_from("menú", Profile(goals=["ganar masa muscular"])) == {"goal": "gain_muscle"}


@pytest.mark.parametrize(
    ("profile", "text", "note"),
    [
        (Profile(pregnant=True), "", "pregnant"),
        (Profile(), "estoy embarazada", "pregnant"),
        (Profile(conditions=["hipertensión"]), "", "condition"),
        (Profile(medication=["metformina"]), "", "condition"),
        (Profile(), "soy diabético", "condition"),
        (Profile(conditions=["enfermedad renal"]), "", "kidney"),
    ],
)
def test_cautions_turn_a_deficit_into_maintenance(profile: Profile, text: str, note: str) -> None:
    request = request_from({"goal": "lose_fat"}, text, profile)
    assert note in request.notes
    assert request.goal == "maintain"
    assert request.asked == "lose_fat"


def test_a_denied_condition_is_no_caution() -> None:
    assert request_from({"goal": "lose_fat"}, "no soy diabético", Profile()).notes == ()


def test_kidney_disease_keeps_protein_moderate() -> None:
    assert request_from({}, "tengo insuficiencia renal", Profile()).low_protein


def test_minors_are_noticed_in_text_and_profile() -> None:
    assert request_from({}, "tengo 15 años", Profile()).is_minor
    assert request_from({}, "", Profile(age=17)).is_minor
    assert not request_from({}, "", Profile(age=18)).is_minor


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"goal": "starve"}, "goal"),
        ({"meals_per_day": 2}, "meals_per_day"),
        ({"allergies": "nuts"}, "allergies"),
        ({"restrictions": [1]}, "restrictions"),
    ],
)
def test_bad_arguments_are_refused_by_field(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        request_from(arguments, "", Profile())
    assert refused.value.field == field
