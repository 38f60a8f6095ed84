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
from ngx_agents.agents.tools.nutrition.portions import STEP_G, Item, balance, in_steps, settle, total_of

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
        settle(items, _VARIED[meal], wanted)
        left = left.plus(total_of(items), -1.0)
        share_left = max(share_left - share, 1e-9)
        drafts.append(MealDraft(slot=slot, meal=meal, items=items))
    _boost(drafts, target, exclusions)
    items = [item for draft in drafts for item in draft.items]
    for _ in range(BALANCE_ROUNDS):
        balance(items, "kcal", target.kcal, ("carb", "fat", "fruit", "protein"))
        balance(items, "protein", target.protein_g, ("booster", "protein"))
    balance(items, "kcal", target.kcal, ("fat", "fruit", "carb"))
    _concentrate(drafts, target, exclusions)
    for draft in drafts:
        draft.items[:] = [item for item in draft.items if item.g >= _least_g(item.food)]
    total = total_of([item for draft in drafts for item in draft.items])
    return Day(meals=tuple(drafts), total=total, fits=_fits(total, target))


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
            return food, max(STEP_G, int(in_steps(grams)))
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


def _boost(drafts: list[MealDraft], target: DayTarget, exclusions: Exclusions) -> None:
    """Adds powder to breakfast, then to the other meals, while the day is short of protein."""
    for draft in drafts:
        short = target.protein_g - total_of([item for d in drafts for item in d.items]).protein
        powder = _powder(draft, exclusions)
        if short < 0.04 * target.protein_g or powder is None:
            return
        _add(draft, powder, min(short / powder.per_100g.protein * 100, powder.max_g))


def _concentrate(drafts: list[MealDraft], target: DayTarget, exclusions: Exclusions) -> None:
    """While the day has too much energy or too little protein, gives some of its heaviest foods as powder instead."""
    sources = [(draft, item) for draft in drafts for item in draft.items if item.food.role == "protein" and item.g > 0]
    sources.sort(key=lambda pair: -pair[1].food.per_100g.kcal / pair[1].food.per_100g.protein)
    for draft, item in sources:
        total = total_of([each for meal in drafts for each in meal.items])
        over, short = total.kcal - target.kcal, target.protein_g - total.protein
        powder = _powder(draft, exclusions)
        if powder is None or (over < 0.04 * target.kcal and short < 0.04 * target.protein_g):
            return
        ratio, share = _exchange(item.food.per_100g, powder.per_100g, over=over, short=short, target=target)
        moved = in_steps(min(item.g, share * 100))
        item.g -= moved
        _add(draft, powder, moved * ratio)


def _exchange(
    food: Nutrients, powder: Nutrients, *, over: float, short: float, target: DayTarget
) -> tuple[float, float]:
    """(grams of powder for a gram of food, hundreds of grams to exchange).

    The same protein with less energy while there is too much of it, otherwise the same energy with more protein.
    """
    if over >= 0.04 * target.kcal:
        ratio = food.protein / powder.protein
        return ratio, over / max(food.kcal - powder.kcal * ratio, 1.0)
    ratio = food.kcal / powder.kcal
    return ratio, short / max(powder.protein * ratio - food.protein, 1.0)


def _add(draft: MealDraft, food: Food, grams: float) -> None:
    for item in draft.items:
        if item.food is food:
            item.g += in_steps(grams)
            return
    draft.items.append(Item(food, in_steps(grams)))


def _powder(draft: MealDraft, exclusions: Exclusions) -> Food | None:
    return next((food for food in _BY_ROLE["booster"] if _goes_with(food, draft.items, exclusions)), None)


def _fits(total: Nutrients, target: DayTarget) -> bool:
    return (
        abs(total.kcal - target.kcal) <= TOLERANCE * target.kcal
        and abs(total.protein - target.protein_g) <= TOLERANCE * target.protein_g
    )


def _least_g(food: Food) -> int:
    """A smaller portion is not worth serving."""
    if food.role in ("fat", "booster"):
        return STEP_G if food.per_100g.kcal > 700 else 2 * STEP_G
    return 3 * STEP_G


_BY_ROLE: dict[Role, list[Food]] = {"protein": [], "booster": [], "carb": [], "fat": [], "veg": [], "fruit": []}
for _food in FOODS.values():
    _BY_ROLE[_food.role].append(_food)
