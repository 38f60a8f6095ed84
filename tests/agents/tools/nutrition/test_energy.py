from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.nutrition.energy import (
    CEILING_KCAL,
    FLOOR_KCAL,
    EatingGoal,
    day_target,
    missing,
    reference_weight,
    resting_kcal,
)
from ngx_agents.agents.tools.person import Person
from tests.agents.tools.contexts import QUICK

PEOPLE = st.builds(
    Person,
    age=st.integers(18, 95),
    sex=st.sampled_from([None, "female", "male"]),
    height_cm=st.floats(120, 220),
    weight_kg=st.floats(35, 250),
    activity=st.sampled_from([None, "sedentary", "light", "moderate", "high", "very_high"]),
)
GOALS = st.sampled_from(["lose_fat", "maintain", "gain_muscle"])


@pytest.mark.parametrize(
    ("person", "kcal"),
    [
        ((81, 178, 34, "male"), 10 * 81 + 6.25 * 178 - 5 * 34 + 5),
        ((60, 165, 29, "female"), 10 * 60 + 6.25 * 165 - 5 * 29 - 161),
        ((60, 165, 29, None), 10 * 60 + 6.25 * 165 - 5 * 29 - 78),
    ],
)
def test_resting_energy_is_mifflins(person: tuple[float, float, int, None], kcal: float) -> None:
    assert resting_kcal(*person) == pytest.approx(kcal)


@QUICK
@given(PEOPLE, GOALS, st.booleans())
def test_targets_stay_within_safe_bounds(person: Person, goal: EatingGoal, low_protein: bool) -> None:
    target = day_target(person, goal, low_protein=low_protein)
    assert FLOOR_KCAL[person.sex] <= target.kcal <= CEILING_KCAL
    if target.kcal > FLOOR_KCAL[person.sex]:
        assert target.maintenance_kcal - target.kcal <= max(600, target.maintenance_kcal - CEILING_KCAL) + 1
    assert target.kcal - target.maintenance_kcal <= max(350, FLOOR_KCAL[person.sex] - target.maintenance_kcal) + 1
    assert 4 * target.protein_g <= 0.35 * target.kcal + 4
    assert target.protein_g <= max(2.0 * target.weight_kg, 0 if low_protein else 0.13 * target.kcal / 4) + 1
    assert target.carbs_g >= 0


@QUICK
@given(PEOPLE, GOALS)
def test_macros_add_up_to_the_energy(person: Person, goal: EatingGoal) -> None:
    target = day_target(person, goal)
    assert 4 * target.protein_g + 4 * target.carbs_g + 9 * target.fat_g == pytest.approx(target.kcal, abs=10)


@QUICK
@given(PEOPLE, GOALS)
def test_fat_is_at_least_six_tenths_of_a_gram_per_kilo(person: Person, goal: EatingGoal) -> None:
    target = day_target(person, goal)
    room = (target.kcal - 4 * target.protein_g) / 9
    assert target.fat_g >= min(0.6 * target.weight_kg, room) - 1


def test_a_lean_person_gets_no_deficit() -> None:
    lean = Person(age=25, sex="female", height_cm=170, weight_kg=50, activity="moderate")
    assert day_target(lean, "lose_fat").kcal == day_target(lean, "maintain").kcal


def test_grams_per_kilo_refer_to_an_adjusted_weight_in_obesity() -> None:
    assert reference_weight(80, 180) == 80
    assert reference_weight(130, 180) == pytest.approx(81 + 0.25 * 49)


def test_an_unknown_sex_states_its_uncertainty() -> None:
    body = {"age": 34, "height_cm": 178.0, "weight_kg": 81.0}
    unknown = day_target(Person(**body), "maintain")
    male, female = (day_target(Person(**body, sex=sex), "maintain") for sex in ("male", "female"))
    assert female.kcal < unknown.kcal < male.kcal
    assert unknown.kcal + unknown.either_way_kcal == pytest.approx(male.kcal, abs=2)


def test_what_is_missing_is_named() -> None:
    assert missing(Person(weight_kg=80)) == ("height_cm", "age")
    assert missing(Person(weight_kg=80, height_cm=180, age=30)) == ()
