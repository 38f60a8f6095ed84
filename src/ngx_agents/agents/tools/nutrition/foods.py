"""The food table: what foods hold per 100 g, when they are eaten, and what is in them that some may not eat."""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.agents.tools.wording import load_table

Meal = Literal["breakfast", "lunch", "dinner", "snack"]
Role = Literal["protein", "booster", "carb", "fat", "veg", "fruit"]
Kind = Literal["plant", "dairy", "egg", "fish", "seafood", "meat", "pork"]


class Nutrients(msgspec.Struct, frozen=True, kw_only=True):
    """Energy in kcal, the rest in g."""

    kcal: float = 0.0
    protein: float = 0.0
    carbs: float = 0.0
    fat: float = 0.0
    fibre: float = 0.0

    def plus(self, other: Nutrients, times: float = 1.0) -> Nutrients:
        return Nutrients(
            kcal=self.kcal + other.kcal * times,
            protein=self.protein + other.protein * times,
            carbs=self.carbs + other.carbs * times,
            fat=self.fat + other.fat * times,
            fibre=self.fibre + other.fibre * times,
        )


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A household measure of `g` grams."""

    g: float
    es: str
    en: str


class Food(msgspec.Struct, frozen=True, kw_only=True):
    """`max_g` is the largest sensible portion in one meal."""

    id: str
    name: dict[str, str]
    per_100g: Nutrients
    role: Role
    meals: tuple[Meal, ...]
    kind: Kind
    max_g: int
    allergens: tuple[str, ...] = ()
    unit: Unit | None = None


FOODS: dict[str, Food] = {
    key: msgspec.convert({"id": key, **table}, Food) for key, table in load_table("nutrition/foods.toml").items()
}
