"""A meal plan in words: target, meals with portions, swaps, notes; or the skeleton when data is missing."""

from __future__ import annotations

from typing import Any

from ngx_agents.agents.tools.nutrition.energy import FLOOR_KCAL, PROTEIN_G_KG, DayTarget, day_target, missing
from ngx_agents.agents.tools.nutrition.exclusions import Exclusions, allergen_names, diet_names
from ngx_agents.agents.tools.nutrition.foods import FOODS, Food, Nutrients
from ngx_agents.agents.tools.nutrition.menu import Day, MealDraft, plan_day, swap_for
from ngx_agents.agents.tools.nutrition.portions import total_of
from ngx_agents.agents.tools.nutrition.request import MealRequest
from ngx_agents.agents.tools.tool import Language, ToolOutput
from ngx_agents.agents.tools.wording import load_wording

say = load_wording("nutrition/wording.toml").say
DAYS = 3
SOURCES = (
    "Mifflin–St Jeor 1990, PMID 2305711",
    "ISSN 2017, doi:10.1186/s12970-017-0177-8",
    "IOM 2005, doi:10.17226/10490",
    "USDA FoodData Central, fdc.nal.usda.gov",
    "EU 1169/2011, Annex II",
)


def meal_report(request: MealRequest, language: Language) -> ToolOutput:
    """Three days that meet the target, one of them in the facts; or per-kilo guidance when the target is unknown."""
    lacking = missing(request.person)
    if lacking or request.is_minor:
        return _skeleton(request, lacking, language)
    target = day_target(request.person, request.goal, low_protein=request.low_protein)
    days = [plan_day(target, request.exclusions, meals=request.meals, turn=turn) for turn in range(DAYS)]
    menus = [_day(day, request.exclusions, language) for day in days]
    facts = {
        "complete": True,
        "goal": say(language, f"goal.{target.goal}"),
        "target": _target(target),
        **_avoided(request.exclusions, language),
        "limits": list(_constraints(request, language)),
        "notes": _notes(request, target, days, language),
        "sources": list(SOURCES),
        "menu": menus[0],
    }
    title = say(language, "title.plan", kcal=target.kcal, protein=target.protein_g)
    data = {**{key: value for key, value in facts.items() if key != "menu"}, "daily_plan": menus}
    return ToolOutput(facts=facts, kind="MealPlan", title=title, data=data, constraints=_constraints(request, language))


def _target(target: DayTarget) -> dict[str, Any]:
    kcal = max(target.kcal, 1)
    return {
        "kcal": target.kcal,
        "maintenance_kcal": target.maintenance_kcal,
        "resting_kcal": target.resting_kcal,
        "protein_g": target.protein_g,
        "carbs_g": target.carbs_g,
        "fat_g": target.fat_g,
        "fibre_g": target.fibre_g,
        "protein_g_kg": round(target.protein_g / target.weight_kg, 1),
        "percent": {
            "protein": round(400 * target.protein_g / kcal),
            "carbs": round(400 * target.carbs_g / kcal),
            "fat": round(900 * target.fat_g / kcal),
        },
    }


def _day(day: Day, exclusions: Exclusions, language: Language) -> dict[str, Any]:
    return {
        "meals": [_meal(meal, exclusions, language) for meal in day.meals if meal.items],
        "total": _rounded(day.total),
        "fits": day.fits,
    }


def _meal(meal: MealDraft, exclusions: Exclusions, language: Language) -> dict[str, Any]:
    items = []
    for item in meal.items:
        other = swap_for(item, meal, exclusions) if item.food.role in ("protein", "carb") else None
        items.append(
            {
                "food": item.food.name[language],
                "id": item.food.id,
                "g": round(item.g),
                "portion": _portion(item.food, item.g, language),
                "kcal": round(item.food.per_100g.kcal * item.g / 100),
                "swap": f"{other[0].name[language]}, {other[1]} g" if other else None,
                "swap_id": other[0].id if other else None,
            }
        )
    return {
        "name": say(language, f"slot.{meal.slot}"),
        "slot": meal.slot,
        "items": items,
        "total": _rounded(total_of(meal.items)),
    }


def _portion(food: Food, grams: float, language: Language) -> str:
    """`100 g (2 piezas)`; the household measure only from one on."""
    portion = f"{grams:.0f} g"
    if food.unit is None or grams < food.unit.g * 0.75:
        return portion
    count = round(grams / food.unit.g * 2) / 2
    unit = getattr(food.unit, language)
    return f"{portion} (≈ {count:g} {unit}{'s' if count > 1 else ''})"


def _rounded(total: Nutrients) -> dict[str, int]:
    return {
        "kcal": round(total.kcal),
        "protein_g": round(total.protein),
        "carbs_g": round(total.carbs),
        "fat_g": round(total.fat),
        "fibre_g": round(total.fibre),
    }


def _skeleton(request: MealRequest, lacking: tuple[str, ...], language: Language) -> ToolOutput:
    """No numbers of energy: what to ask for, and guidance per kilo of body weight."""
    names = [say(language, f"missing.{name}") for name in lacking]
    facts: dict[str, Any] = {
        "complete": False,
        "missing": [] if request.is_minor else names,
        "goal": say(language, f"goal.{request.goal}"),
        "guidance": _guidance(request, language),
        **_avoided(request.exclusions, language),
        "limits": list(_constraints(request, language)),
        "notes": [say(language, f"note.{key}") for key in request.notes] + _exclusion_notes(request, language),
        "sources": list(SOURCES[1:3]),
    }
    if not request.is_minor:
        facts["intro"] = say(language, "skeleton.intro", missing=", ".join(names))
    title = say(language, "title.guidance")
    return ToolOutput(
        facts=facts, kind="MealPlan", title=title, data=facts, constraints=_constraints(request, language)
    )


def _guidance(request: MealRequest, language: Language) -> list[str]:
    plate = [say(language, "skeleton.plate")]
    if request.is_minor or request.low_protein:
        return [say(language, "skeleton.plain_protein"), *plate]
    middle = PROTEIN_G_KG[request.goal]
    low, high = max(1.4, middle - 0.2), min(2.2, middle + 0.2)
    lines = [say(language, "skeleton.protein", low=f"{low:.1f}", high=f"{high:.1f}")]
    if kg := request.person.weight_kg:
        grams = {"low": round(low * kg), "high": round(high * kg)}
        lines.append(say(language, "skeleton.protein_grams", kg=f"{kg:g}", **grams))
    return [*lines, say(language, "skeleton.fat"), say(language, "skeleton.fibre"), *plate]


def _avoided(exclusions: Exclusions, language: Language) -> dict[str, Any]:
    return {
        "avoids": allergen_names(exclusions, language),
        "diets": diet_names(exclusions, language),
        "not_included": [
            food.name[language]
            for food in FOODS.values()
            if food.id in exclusions.foods and not exclusions.allergens.intersection(food.allergens)
        ],
        "unknown": list(exclusions.unknown),
    }


def _notes(request: MealRequest, target: DayTarget, days: list[Day], language: Language) -> list[str]:
    notes = [say(language, f"note.{key}") for key in request.notes]
    if target.either_way_kcal:
        notes.append(say(language, "note.sex", kcal=target.either_way_kcal))
    if request.person.activity is None:
        notes.append(say(language, "note.activity"))
    if request.goal == "lose_fat" and target.goal != "lose_fat":
        notes.append(say(language, "note.lean"))
    if target.kcal == FLOOR_KCAL[request.person.sex]:
        notes.append(say(language, "note.floor", kcal=target.kcal))
    if request.person.weight_kg is not None and target.weight_kg < round(request.person.weight_kg, 1):
        notes.append(say(language, "note.adjusted", kg=f"{target.weight_kg:g}"))
    if not all(day.fits for day in days):
        notes.append(say(language, "note.unfit"))
    return notes + _exclusion_notes(request, language)


def _exclusion_notes(request: MealRequest, language: Language) -> list[str]:
    exclusions = request.exclusions
    notes = [say(language, f"note.{diet}") for diet in ("halal", "kosher", "vegan") if diet in exclusions.diets]
    notes += [say(language, "note.unknown", item=item) for item in exclusions.unknown]
    return [*notes, say(language, "note.labels")] if exclusions.allergens else notes


def _constraints(request: MealRequest, language: Language) -> tuple[str, ...]:
    avoided = _avoided(request.exclusions, language)
    keys = {"allergy": "avoids", "diet": "diets", "foods": "not_included", "unknown": "unknown"}
    made = [
        say(language, f"constraint.{key}", names=", ".join(avoided[name]))
        for key, name in keys.items()
        if avoided[name]
    ]
    return (*made, say(language, "constraint.no_deficit")) if request.notes else tuple(made)
