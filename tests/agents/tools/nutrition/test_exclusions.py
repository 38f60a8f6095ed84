from __future__ import annotations

from time import process_time

import pytest

from ngx_agents.agents.tools.nutrition.exclusions import ALLERGENS, DIETS, Exclusions, exclusions_from
from ngx_agents.agents.tools.nutrition.foods import FOODS
from ngx_agents.state.model import Profile


def allowed(exclusions: Exclusions) -> set[str]:
    return {food.id for food in FOODS.values() if exclusions.allows(food)}


@pytest.mark.parametrize(
    ("text", "allergens"),
    [
        ("soy alérgico a los cacahuates", {"peanuts"}),
        ("soy alérgica al maní y a los cacahuetes", {"peanuts"}),
        ("alergia a las nueces", {"nuts"}),
        ("alergia a frutos secos", {"nuts", "peanuts"}),
        ("soy alérgico a los mariscos", {"crustaceans", "molluscs"}),
        ("no puedo comer camarones", {"crustaceans"}),
        ("soy alérgico a la leche y al huevo", {"milk", "eggs"}),
        ("me hacen daño los lácteos", {"milk"}),
        ("soy celíaca", {"gluten"}),
        ("menú sin gluten", {"gluten"}),
        ("intolerante a la lactosa", {"milk"}),
        ("alergia al ajonjolí y a la mostaza", {"sesame", "mustard"}),
        ("no tolero la soya", {"soy"}),
        ("no como pescado ni pulpo", {"fish", "molluscs"}),
        ("soy alérgico al apio, los sulfitos y los altramuces", {"celery", "sulphites", "lupin"}),
        ("I'm allergic to peanuts", {"peanuts"}),
        ("I'm allergic to tree nuts", {"nuts", "peanuts"}),
        ("I can't eat dairy", {"milk"}),
        ("allergic to shellfish and eggs", {"crustaceans", "molluscs", "eggs"}),
        ("gluten-free menu", {"gluten"}),
        ("I'm allergic to soy and fish", {"soy", "fish"}),
        ("no soy alérgico a nada", set()),
        ("soy Ana y quiero un menú", set()),
        ("me encanta el huevo con leche", set()),
        ("", set()),
    ],
)
def test_allergens_are_read_in_both_languages(text: str, allergens: set[str]) -> None:
    assert exclusions_from(text, Profile()).allergens == allergens


@pytest.mark.parametrize("allergen", ALLERGENS)
def test_no_food_with_an_excluded_allergen_is_allowed(allergen: str) -> None:
    left = allowed(Exclusions(allergens=frozenset({allergen})))
    assert left
    assert not [food for food in left if allergen in FOODS[food].allergens]


@pytest.mark.parametrize(
    ("text", "diet"),
    [
        ("soy vegana", "vegan"),
        ("vegetarian menu", "vegetarian"),
        ("comida halal", "halal"),
        ("kosher please", "kosher"),
        ("no como carne", "no_meat"),
        ("no como cerdo", "no_pork"),
    ],
)
def test_diets_are_read(text: str, diet: str) -> None:
    assert diet in exclusions_from(text, Profile()).diets


@pytest.mark.parametrize(
    ("diet", "kinds"),
    [
        ("vegan", {"plant"}),
        ("vegetarian", {"plant", "egg", "dairy"}),
        ("halal", {"plant", "egg", "dairy", "fish", "seafood", "meat"}),
        ("kosher", {"plant", "egg", "dairy", "fish", "meat"}),
    ],
)
def test_a_diet_leaves_only_its_kinds(diet: str, kinds: set[str]) -> None:
    assert {FOODS[food].kind for food in allowed(Exclusions(diets=frozenset({diet})))} == kinds


def test_a_food_named_as_not_eaten_is_left_out() -> None:
    left = allowed(exclusions_from("no me gusta el brócoli ni las fresas", Profile()))
    assert not left & {"broccoli", "strawberries"}
    assert "apple" in left


def test_profile_lists_count_without_a_word_of_allergy() -> None:
    found = exclusions_from("", Profile(allergies=["soy", "Maní"], restrictions=["halal"]))
    assert found.allergens == {"soy", "peanuts"}
    assert found.diets == {"halal"}


def test_what_is_not_understood_is_reported_not_dropped() -> None:
    assert exclusions_from("", Profile(allergies=["polen", "huevo"])).unknown == ("polen",)


@pytest.mark.parametrize("key", [*ALLERGENS, *DIETS])
def test_a_models_own_keys_are_understood(key: str) -> None:
    found = exclusions_from("", Profile(), [key])
    assert key in found.allergens | found.diets
    assert not found.unknown


@pytest.mark.parametrize("piece", ["soy alérgico a ", "a", "no ", ", soy", "sin "])
def test_a_huge_message_is_read_in_bounded_time(piece: str) -> None:
    before = process_time()
    exclusions_from(piece * (100_000 // len(piece)), Profile())
    assert process_time() - before < 0.5


@pytest.mark.parametrize(
    ("text", "allergen"),
    [
        ("no tree nuts please, make me a menu", "nuts"),
        ("dairy makes me sick, meal plan please", "milk"),
        ("Me hincho con el pescado, hazme un menú", "fish"),
        ("los huevos me dan ronchas", "eggs"),
    ],
)
def test_a_food_that_harms_in_whatever_words_is_left_out(text: str, allergen: str) -> None:
    assert allergen in exclusions_from(text, Profile()).allergens


def test_lupin_is_left_out_with_peanuts() -> None:
    lupins = [food for food in FOODS.values() if "lupin" in food.allergens]
    assert lupins
    limits = exclusions_from("soy alérgico al cacahuate", Profile())
    assert not any(limits.allows(food) for food in lupins)
