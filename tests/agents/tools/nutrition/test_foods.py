from __future__ import annotations

import re

import pytest

from ngx_agents.agents.tools.nutrition.exclusions import ALLERGENS
from ngx_agents.agents.tools.nutrition.foods import FOODS, Food
from ngx_agents.agents.tools.reading import fold

ANIMAL = {
    "chicken": "meat", "turkey": "meat", "beef": "meat", "pork": "pork", "cooked ham": "pork", "salmon": "fish",
    "tuna ": "fish", "shrimp": "seafood", "squid": "seafood", "mussels": "seafood", "egg": "egg", "yogurt": "dairy",
    "cheese": "dairy", "whey": "dairy",
}  # fmt: skip
CONTAINS = {
    "pan ": "gluten", "bread": "gluten", "oats": "gluten", "pasta integral": "gluten", "couscous": "gluten",
    "bulgur": "gluten", "seitan": "gluten", "shrimp": "crustaceans", "squid": "molluscs", "mussels": "molluscs",
    "salmon": "fish", "tuna ": "fish", "hake": "fish", "sardines": "fish", "tilapia": "fish", "egg": "eggs",
    "peanut": "peanuts", "tofu": "soy", "tempeh": "soy", "soy": "soy", "edamame": "soy", "whey": "milk",
    "greek": "milk", "skyr": "milk", "cheese": "milk", "almonds": "nuts", "walnuts": "nuts", "celery": "celery",
    "mustard": "mustard", "tahini": "sesame", "hummus": "sesame", "raisins": "sulphites", "apricots": "sulphites",
    "lupin": "lupin",
}  # fmt: skip


def named(word: str) -> list[Food]:
    return [food for food in FOODS.values() if any(re.search(rf"\b{word}", fold(name)) for name in food.name.values())]


def test_there_are_about_eighty_foods_for_every_role() -> None:
    assert len(FOODS) >= 80
    assert {food.role for food in FOODS.values()} == {"protein", "booster", "carb", "fat", "veg", "fruit"}


@pytest.mark.parametrize(("word", "allergen"), CONTAINS.items())
def test_foods_carry_their_allergen(word: str, allergen: str) -> None:
    foods = named(word)
    assert foods
    assert all(allergen in food.allergens for food in foods), [food.id for food in foods]


@pytest.mark.parametrize(("word", "kind"), ANIMAL.items())
def test_foods_of_animals_are_not_plants(word: str, kind: str) -> None:
    foods = [food for food in named(word) if "soy" not in food.allergens]
    assert foods
    assert all(food.kind == kind for food in foods), [food.id for food in foods]


def test_the_energy_of_a_food_is_that_of_its_macros() -> None:
    for food in FOODS.values():
        per = food.per_100g
        kcal = 4 * per.protein + 4 * max(per.carbs - per.fibre, 0) + 2 * per.fibre + 9 * per.fat
        assert abs(kcal - per.kcal) <= max(15, 0.2 * per.kcal), (food.id, kcal, per.kcal)


def test_macros_fit_into_a_hundred_grams_and_allergens_are_known() -> None:
    for food in FOODS.values():
        per = food.per_100g
        assert 0 < per.protein + per.carbs + per.fat <= 101, food.id
        assert per.fibre <= per.carbs, food.id
        assert set(food.allergens) <= set(ALLERGENS)
