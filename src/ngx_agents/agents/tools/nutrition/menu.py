"""A day of meals whose portions meet the day's target without a forbidden food.

Each meal takes a protein, a carbohydrate and a fat food beside fixed vegetables or fruit; portions are found by
solving for one macronutrient after another until they settle, within what one can eat, in steps of 5 g. What one meal
cannot hold the next ones take; protein that foods cannot give comes from an allowed powder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from ngx_agents.agents.tools.nutrition.energy import DayTarget
from ngx_agents.agents.tools.nutrition.exclusions import Exclusions
from ngx_agents.agents.tools.nutrition.foods import FOODS, Food, Meal, Nutrients, Role

STEP_G = 5
SETTLE_ROUNDS = 6
BALANCE_ROUNDS = 3
TOLERANCE = 0.10
MEAL_KCAL = 600  # portions grow with the energy of a meal above it
Slot = Literal["breakfast", "mid_morning", "lunch", "snack", "dinner"]
MEALS: dict[int, tuple[tuple[Slot, Meal, float], ...]] = {
    3: (("breakfast", "breakfast", 0.30), ("lunch", "lunch", 0.40), ("dinner", "dinner", 0.30)),
    4: (
        ("breakfast", "breakfast", 0.25), ("lunch", "lunch", 0.35),
        ("snack", "snack", 0.12), ("dinner", "dinner", 0.28),
    ),
    5: (
        ("breakfast", "breakfast", 0.22), ("mid_morning", "snack", 0.10), ("lunch", "lunch", 0.32),
        ("snack", "snack", 0.10), ("dinner", "dinner", 0.26),
    ),
}  # fmt: skip
_SIDES: dict[Meal, tuple[tuple[Role, int], ...]] = {
    "breakfast": (("fruit", 120),), "lunch": (("veg", 200),), "dinner": (("veg", 200),), "snack": (),
}  # fmt: skip
_VARIED: dict[Meal, tuple[Role, ...]] = {
    "breakfast": ("protein", "carb", "fat"), "lunch": ("protein", "carb", "fat"),
    "dinner": ("protein", "carb", "fat"), "snack": ("protein", "fruit", "fat"),
}  # fmt: skip


class Item:
    """A food of a meal while its portion is being found; `g` is what stands now, at most `max_g`."""

    __slots__ = ("food", "g", "max_g")

    def __init__(self, food: Food, g: float, larger: float = 1.0) -> None:
        self.food = food
        self.g = g
        self.max_g = float(round(food.max_g * larger / STEP_G) * STEP_G)


class MealDraft(msgspec.Struct, frozen=True, kw_only=True):
    slot: Slot
    meal: Meal
    items: list[Item]


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """`fits` tells whether energy and protein are within a tenth of the target."""

    meals: tuple[MealDraft, ...]
    total: Nutrients
    fits: bool


def plan_day(target: DayTarget, exclusions: Exclusions, *, meals: int, turn: int) -> Day:
    """The menu of one day; `turn` moves through the choices, so that days differ."""
    drafts: list[MealDraft] = []
    larger = max(1.0, target.kcal / (meals * MEAL_KCAL))
    left = Nutrients(kcal=target.kcal, protein=target.protein_g, carbs=target.carbs_g, fat=target.fat_g)
    share_left = 1.0
    for index, (slot, meal, share) in enumerate(MEALS[meals]):
        part = share / share_left
        wanted = Nutrients().plus(left, part)
        items = _items(meal, exclusions, turn + index, larger)
        _settle(items, _VARIED[meal], wanted)
        left = left.plus(_sum(items), -1.0)
        share_left = max(share_left - share, 1e-9)
        drafts.append(MealDraft(slot=slot, meal=meal, items=items))
    _boost(drafts, target, exclusions)
    items = [item for draft in drafts for item in draft.items]
    for _ in range(BALANCE_ROUNDS):
        _balance(items, "kcal", target.kcal, ("carb", "fat", "fruit", "protein"))
        _balance(items, "protein", target.protein_g, ("booster", "protein"))
    _balance(items, "kcal", target.kcal, ("fat", "fruit", "carb"))
    _concentrate(drafts, target, exclusions)
    for draft in drafts:
        draft.items[:] = [item for item in draft.items if item.g >= _least_g(item.food)]
    total = _sum([item for draft in drafts for item in draft.items])
    return Day(meals=tuple(drafts), total=total, fits=_fits(total, target))


def nutrients_of(items: Sequence[Item]) -> Nutrients:
    return _sum(items)


def swap_for(item: Item, draft: MealDraft, exclusions: Exclusions) -> tuple[Food, int] | None:
    """The next allowed food of the same role for this meal, with the portion that gives the same main nutrient."""
    nutrient = {"protein": "protein", "fat": "fat"}.get(item.food.role, "carbs")
    amount = getattr(item.food.per_100g, nutrient) * item.g
    rest = [other for other in draft.items if other is not item]
    peers = _BY_ROLE[item.food.role]
    start = peers.index(item.food) + 1
    for food in (*peers[start:], *peers[: start - 1]):
        grams = amount / max(getattr(food.per_100g, nutrient), 1e-9)
        if grams <= item.max_g and draft.meal in food.meals and _goes_with(food, rest, exclusions):
            return food, max(STEP_G, int(_round(grams)))
    return None


def _items(meal: Meal, exclusions: Exclusions, turn: int, larger: float) -> list[Item]:
    chosen: list[Item] = []
    for role in _VARIED[meal]:
        if food := _pick(role, meal, exclusions, turn, chosen):
            chosen.append(Item(food, 0.0, larger))
    for role, grams in _SIDES[meal]:
        if food := _pick(role, meal, exclusions, turn, chosen):
            chosen.append(Item(food, float(grams), larger))
    return chosen


def _pick(role: Role, meal: Meal, exclusions: Exclusions, turn: int, chosen: list[Item]) -> Food | None:
    fitting = [food for food in _BY_ROLE[role] if meal in food.meals and _goes_with(food, chosen, exclusions)]
    return fitting[turn % len(fitting)] if fitting else None


def _goes_with(food: Food, others: Sequence[Item], exclusions: Exclusions) -> bool:
    """Whether the food is allowed, beside the others too: kosher keeps meat and dairy apart."""
    if not exclusions.allows(food):
        return False
    pair = {"meat": "dairy", "dairy": "meat"}.get(food.kind)
    return not exclusions.keeps_meat_from_dairy or all(item.food.kind != pair for item in others)


def _settle(items: list[Item], varied: tuple[Role, ...], wanted: Nutrients) -> None:
    """Protein food to the protein, carbohydrate food to the carbohydrate, fat food to the energy, until stable."""
    by_role = {item.food.role: item for item in items}
    for _ in range(SETTLE_ROUNDS):
        for role in varied:
            if item := by_role.get(role):
                nutrient = "protein" if role == "protein" else "kcal" if role == "fat" else "carbs"
                _set_portion(item, items, nutrient, getattr(wanted, nutrient))
    for item in items:
        item.g = _round(item.g)


def _set_portion(item: Item, items: Sequence[Item], nutrient: str, amount: float) -> None:
    """Gives the item what of `amount` the others do not give, within its largest portion."""
    others = sum(getattr(other.food.per_100g, nutrient) * other.g for other in items if other is not item) / 100
    per_g = getattr(item.food.per_100g, nutrient) / 100
    if per_g > 0:
        item.g = min(max((amount - others) / per_g, 0.0), item.max_g)


def _boost(drafts: list[MealDraft], target: DayTarget, exclusions: Exclusions) -> None:
    """Adds powder to breakfast, then to the other meals, while the day is short of protein."""
    for draft in drafts:
        short = target.protein_g - _sum([item for d in drafts for item in d.items]).protein
        powder = _powder(draft, exclusions)
        if short < 0.04 * target.protein_g or powder is None:
            return
        draft.items.append(Item(powder, _round(min(short / powder.per_100g.protein * 100, powder.max_g))))


def _concentrate(drafts: list[MealDraft], target: DayTarget, exclusions: Exclusions) -> None:
    """While the day has too much energy, gives the protein of its heaviest protein foods as powder instead."""
    sources = [(draft, item) for draft in drafts for item in draft.items if item.food.role == "protein" and item.g > 0]
    sources.sort(key=lambda pair: -pair[1].food.per_100g.kcal / pair[1].food.per_100g.protein)
    for draft, item in sources:
        over = _sum([i for d in drafts for i in d.items]).kcal - target.kcal
        powder = _powder(draft, exclusions)
        if over < 0.05 * target.kcal or powder is None:
            return
        ratio = item.food.per_100g.protein / powder.per_100g.protein
        saved = (item.food.per_100g.kcal - powder.per_100g.kcal * ratio) / 100
        moved = _round(min(item.g, over / saved if saved > 0 else 0.0))
        item.g -= moved
        draft.items.append(Item(powder, _round(moved * ratio)))


def _powder(draft: MealDraft, exclusions: Exclusions) -> Food | None:
    return next((food for food in _BY_ROLE["booster"] if _goes_with(food, draft.items, exclusions)), None)


def _balance(items: Sequence[Item], nutrient: str, wanted: float, roles: Sequence[Role]) -> None:
    """Brings the day's total of one nutrient to what is wanted, changing the foods of `roles` in turn."""
    have = getattr(_sum(items), nutrient)
    for role in roles:
        for item in items:
            if abs(wanted - have) < 0.02 * wanted:
                return
            per_g = getattr(item.food.per_100g, nutrient) / 100
            if item.food.role == role and per_g > 0:
                grams = _round(min(max(item.g + (wanted - have) / per_g, 0.0), item.max_g))
                have += (grams - item.g) * per_g
                item.g = grams


def _fits(total: Nutrients, target: DayTarget) -> bool:
    return (
        abs(total.kcal - target.kcal) <= TOLERANCE * target.kcal
        and abs(total.protein - target.protein_g) <= TOLERANCE * target.protein_g
    )


def _sum(items: Sequence[Item]) -> Nutrients:
    kcal = protein = carbs = fat = fibre = 0.0
    for item in items:
        per_100g, times = item.food.per_100g, item.g / 100
        kcal += per_100g.kcal * times
        protein += per_100g.protein * times
        carbs += per_100g.carbs * times
        fat += per_100g.fat * times
        fibre += per_100g.fibre * times
    return Nutrients(kcal=kcal, protein=protein, carbs=carbs, fat=fat, fibre=fibre)


def _least_g(food: Food) -> int:
    """A smaller portion is not worth serving."""
    if food.role in ("fat", "booster"):
        return STEP_G if food.per_100g.kcal > 700 else 2 * STEP_G
    return 3 * STEP_G


def _round(grams: float) -> float:
    return float(round(grams / STEP_G) * STEP_G)


_BY_ROLE: dict[Role, list[Food]] = {"protein": [], "booster": [], "carb": [], "fat": [], "veg": [], "fruit": []}
for _food in FOODS.values():
    _BY_ROLE[_food.role].append(_food)
