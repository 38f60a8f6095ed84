from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.nutrition.energy import EatingGoal, day_target
from ngx_agents.agents.tools.nutrition.exclusions import ALLERGENS, DIETS, Exclusions
from ngx_agents.agents.tools.nutrition.menu import Day, plan_day, swap_for
from ngx_agents.agents.tools.nutrition.portions import total_of
from ngx_agents.agents.tools.person import Person
from tests.agents.tools.contexts import QUICK

from .test_energy import GOALS, PEOPLE

EXCLUSIONS = st.builds(
    Exclusions,
    allergens=st.sets(st.sampled_from(ALLERGENS)).map(frozenset),
    diets=st.sets(st.sampled_from(DIETS), max_size=3).map(frozenset),
)
SOMEONE = Person(age=34, sex="male", height_cm=178, weight_kg=81)


def swaps(day: Day, exclusions: Exclusions) -> list[tuple[str, str]]:
    found = [(draft, item, swap_for(item, draft, exclusions)) for draft in day.meals for item in draft.items]
    for draft, item, swap in found:
        if swap is not None:
            assert exclusions.allows(swap[0])
            assert draft.meal in swap[0].meals
            assert swap[0].role == item.food.role
    return [(item.food.id, swap[0].id) for _, item, swap in found if swap]


@QUICK
@given(PEOPLE, GOALS, EXCLUSIONS, st.integers(3, 5), st.integers(0, 9))
def test_no_forbidden_food_and_energy_and_protein_within_a_tenth(
    person: Person, goal: EatingGoal, exclusions: Exclusions, meals: int, turn: int
) -> None:
    target = day_target(person, goal)
    day = plan_day(target, exclusions, meals=meals, turn=turn)
    items = [item for draft in day.meals for item in draft.items]
    assert items
    assert all(item.g <= item.max_g for item in items if item.food.role != "booster")
    assert all(len({item.food.id for item in draft.items}) == len(draft.items) for draft in day.meals)
    assert all(exclusions.allows(item.food) for item in items)
    assert all(item.g > 0 and item.g % 5 == 0 for item in items)
    assert total_of(items) == day.total
    assert day.fits == (
        abs(day.total.kcal - target.kcal) <= 0.1 * target.kcal
        and abs(day.total.protein - target.protein_g) <= 0.1 * target.protein_g
    )
    assert day.fits, (target, day.total)
    swaps(day, exclusions)


@QUICK
@given(PEOPLE, st.integers(3, 5), st.integers(0, 9))
def test_kosher_meals_hold_no_meat_with_dairy_even_after_a_swap(person: Person, meals: int, turn: int) -> None:
    kosher = Exclusions(diets=frozenset({"kosher"}))
    for draft in plan_day(day_target(person, "maintain"), kosher, meals=meals, turn=turn).meals:
        kinds = [item.food.kind for item in draft.items]
        assert not {"meat", "dairy"} <= set(kinds)
        for index, item in enumerate(draft.items):
            if swap := swap_for(item, draft, kosher):
                assert not {"meat", "dairy"} <= {*kinds[:index], swap[0].kind, *kinds[index + 1 :]}


def test_three_days_differ() -> None:
    target = day_target(SOMEONE, "lose_fat")
    days = [plan_day(target, Exclusions(), meals=4, turn=turn) for turn in range(3)]
    foods = [tuple(item.food.id for draft in day.meals for item in draft.items) for day in days]
    assert len(set(foods)) == 3


def test_a_swap_gives_the_same_protein() -> None:
    day = plan_day(day_target(SOMEONE, "maintain"), Exclusions(), meals=3, turn=0)
    lunch = day.meals[1]
    chicken = lunch.items[0]
    swap = swap_for(chicken, lunch, Exclusions())
    assert swap is not None
    protein = chicken.food.per_100g.protein * chicken.g / 100
    assert abs(swap[0].per_100g.protein * swap[1] / 100 - protein) < 2
