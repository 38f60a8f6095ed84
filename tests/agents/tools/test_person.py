from __future__ import annotations

import pytest

from ngx_agents.agents.tools.person import Person, person_from
from ngx_agents.state.model import Profile


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("tengo 34 años, peso 81 kg, mido 178", Person(age=34, weight_kg=81.0, height_cm=178.0)),
        ("I'm 34, 81 kg, 178 cm, male", Person(age=34, weight_kg=81.0, height_cm=178.0, sex="male")),
        (
            "soy mujer de treinta y cuatro años, 1,65 m y 60 kilos",
            Person(age=34, weight_kg=60.0, height_cm=165.0, sex="female"),
        ),
        ("5'10, I weigh 180 pounds", Person(height_cm=177.8, weight_kg=81.65)),
        ("mi peso actual es 92,1", Person(weight_kg=92.1)),
        ("my weight this morning is 88.8 kg", Person(weight_kg=88.8)),
        ("I am a 41 year old woman", Person(age=41, sex="female")),
        ("entreno 4 días por semana", Person(activity="moderate")),
        ("95 kg 170 cm 50 años", Person(age=50, weight_kg=95.0, height_cm=170.0)),
        ("70 kg 1.70 m 30 años mujer", Person(age=30, weight_kg=70.0, height_cm=170.0, sex="female")),
        (
            "quiero bajar 20 kilos, 34 años 90 kg 165 cm mujer",
            Person(age=34, weight_kg=90.0, height_cm=165.0, sex="female"),
        ),
        ("llevo una vida sedentaria", Person(activity="sedentary")),
    ],
)
def test_stated_facts_are_read(text: str, person: Person) -> None:
    assert person_from(text, Profile()) == person


@pytest.mark.parametrize(
    "text",
    [
        "peso muerto 100 kg",
        "quiero pesar 75 kg",
        "mi peso ideal es 70 kg",
        "quiero bajar de peso 30 kg",
        "llevo 12 años corriendo",
        "my goal weight is 70 kg",
        "hago press con 60 kg",
        "peso 900 kg",
        "tengo 5 años de experiencia",
        "",
    ],
)
def test_goals_loads_and_the_impossible_are_not_the_body(text: str) -> None:
    assert person_from(text, Profile()) == Person()


def test_the_text_wins_over_the_profile_and_the_profile_fills_the_rest() -> None:
    profile = Profile(age=30, weight_kg=70, height_cm=170, sex="female", activity="high")
    assert person_from("ahora peso 68 kg", profile) == Person(
        age=30, weight_kg=68.0, height_cm=170, sex="female", activity="high"
    )


def test_a_profile_out_of_bounds_is_unknown() -> None:
    assert person_from("", Profile(weight_kg=1000, height_cm=5, age=400)) == Person()


def test_the_newest_of_earlier_statements_fills_what_the_text_leaves_out() -> None:
    earlier = ("tengo 34 años, peso 90 kg, soy mujer", "peso 88 kg y mido 165")
    known = person_from("ahora peso 87 kg", Profile(age=20, activity="high"), earlier)
    assert known == Person(age=34, weight_kg=87.0, height_cm=165.0, sex="female", activity="high")
    assert person_from("", Profile(weight_kg=70), earlier).weight_kg == 88.0
