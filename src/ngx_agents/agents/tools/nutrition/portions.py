"""Portions of foods: what they add up to, and how they are changed until a nutrient is met.

A portion is a multiple of `STEP_G` and never more than the food's largest sensible one, itself larger for those who
need much energy.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.agents.tools.nutrition.foods import Food, Nutrients, Role

STEP_G = 5
SETTLE_ROUNDS = 6


class Item:
    """A food of a meal while its portion is being found; `g` is what stands now, at most `max_g`."""

    __slots__ = ("food", "g", "max_g")

    def __init__(self, food: Food, g: float, larger: float = 1.0) -> None:
        self.food = food
        self.g = g
        self.max_g = float(round(food.max_g * larger / STEP_G) * STEP_G)


def total_of(items: Sequence[Item]) -> Nutrients:
    kcal = protein = carbs = fat = fibre = 0.0
    for item in items:
        per_100g, times = item.food.per_100g, item.g / 100
        kcal += per_100g.kcal * times
        protein += per_100g.protein * times
        carbs += per_100g.carbs * times
        fat += per_100g.fat * times
        fibre += per_100g.fibre * times
    return Nutrients(kcal=kcal, protein=protein, carbs=carbs, fat=fat, fibre=fibre)


def settle(items: list[Item], varied: tuple[Role, ...], wanted: Nutrients) -> None:
    """Protein food to the protein, carbohydrate food to the carbohydrate, fat food to the energy, until stable."""
    by_role = {item.food.role: item for item in items}
    for _ in range(SETTLE_ROUNDS):
        for role in varied:
            if item := by_role.get(role):
                nutrient = "protein" if role == "protein" else "kcal" if role == "fat" else "carbs"
                _set_portion(item, items, nutrient, getattr(wanted, nutrient))
    for item in items:
        item.g = in_steps(item.g)


def _set_portion(item: Item, items: Sequence[Item], nutrient: str, amount: float) -> None:
    """Gives the item what of `amount` the others do not give, within its largest portion."""
    others = sum(getattr(other.food.per_100g, nutrient) * other.g for other in items if other is not item) / 100
    per_g = getattr(item.food.per_100g, nutrient) / 100
    if per_g > 0:
        item.g = min(max((amount - others) / per_g, 0.0), item.max_g)


def balance(items: Sequence[Item], nutrient: str, wanted: float, roles: Sequence[Role]) -> None:
    """Brings the day's total of one nutrient to what is wanted, changing the foods of `roles` in turn."""
    have = getattr(total_of(items), nutrient)
    for role in roles:
        for item in items:
            if abs(wanted - have) < 0.02 * wanted:
                return
            per_g = getattr(item.food.per_100g, nutrient) / 100
            if item.food.role == role and per_g > 0:
                grams = in_steps(min(max(item.g + (wanted - have) / per_g, 0.0), item.max_g))
                have += (grams - item.g) * per_g
                item.g = grams


def in_steps(grams: float) -> float:
    return float(round(grams / STEP_G) * STEP_G)
