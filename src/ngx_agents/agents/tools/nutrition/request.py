"""What a meal plan was asked for, and which cautions of the profile and text bind it."""

from __future__ import annotations

import re
from typing import Any, get_args

import msgspec

from ngx_agents.agents.tools.arguments import choice, integer, strings
from ngx_agents.agents.tools.nutrition.energy import EatingGoal
from ngx_agents.agents.tools.nutrition.exclusions import ALLERGENS, DIETS, Exclusions, exclusions_from
from ngx_agents.agents.tools.nutrition.menu import MEALS
from ngx_agents.agents.tools.person import Person, person_from
from ngx_agents.agents.tools.reading import fold, numbered, words
from ngx_agents.state.model import Profile

GOALS: tuple[EatingGoal, ...] = get_args(EatingGoal)
DEFAULT_MEALS = 4
MEALS_BOUNDS = (min(MEALS), max(MEALS))
ADULT = 18

_MEALS = re.compile(r"(?<!\d)(\d) (?:comidas|tiempos|meals)\b")
_LOSE = words(
    "bajar", "perder", "adelgaz", "defini", "quemar grasa", "deficit", "menos grasa", "lose", "losing", "cut$",
    "cutting", "slim", "fat loss", "weight loss", "leaner", "burn fat",
)  # fmt: skip
_GAIN = words(
    "ganar", "subir de peso", "subir peso", "aumentar", "volumen", "masa muscular", "hipertrof", "superavit", "gain",
    "gaining", "bulk", "build muscle", "muscle mass", "surplus", "hypertroph",
)  # fmt: skip
_KIDNEY = words("renal", "rinon", "nefr", "dialisis", "kidney", "dialysis", "nephr")
_CONDITION = words(
    "diabet", "insulin", "hipertens", "hypertens", "cardia", "heart disease", "cancer", "hepat", "higado", "liver",
    "bariatric", "crohn", "colitis",
)  # fmt: skip
_PREGNANT = words("embarazada", "estoy en embarazo", "lactancia", "amamant", "pregnan", "breastfeed")
_DENIES = words("no (?:estoy|soy|tengo|padezco)", "sin$", "not$", "don't have", "no$")


class MealRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`asked` is the goal before the cautions; `notes` are keys of the wording that say why it changed."""

    person: Person
    goal: EatingGoal
    asked: EatingGoal
    meals: int
    exclusions: Exclusions
    low_protein: bool
    is_minor: bool
    notes: tuple[str, ...]


def arguments_from(text: str, profile: Profile) -> dict[str, Any]:
    """Goal and number of meals as the text or the profile's goals say; exclusions are always read from both."""
    said = numbered(fold(text))
    goal = read_goal(said) or read_goal(fold(". ".join(profile.goals)))
    found: dict[str, Any] = {} if goal is None else {"goal": goal}
    if match := _MEALS.search(said):
        found["meals_per_day"] = min(max(int(match[1]), MEALS_BOUNDS[0]), MEALS_BOUNDS[1])
    exclusions = exclusions_from(text, profile)
    if exclusions.allergens:
        found["allergies"] = [item for item in ALLERGENS if item in exclusions.allergens]
    if exclusions.diets:
        found["restrictions"] = [item for item in DIETS if item in exclusions.diets]
    return found


def read_goal(said: str) -> EatingGoal | None:
    if _LOSE.search(said):
        return "lose_fat"
    return "gain_muscle" if _GAIN.search(said) else None


def request_from(arguments: dict[str, Any], text: str, profile: Profile) -> MealRequest:
    """The checked request; cautions turn a deficit or surplus into maintenance. Raises InvalidRequest."""
    chosen = choice(arguments, "goal", GOALS)
    asked: EatingGoal = next((name for name in GOALS if name == chosen), "maintain")
    stated = (*strings(arguments, "allergies"), *strings(arguments, "restrictions"))
    exclusions = exclusions_from(text, profile, stated)
    person = person_from(text, profile)
    notes, low_protein = _cautions(text, profile)
    is_minor = person.age is not None and person.age < ADULT
    return MealRequest(
        person=person,
        goal="maintain" if notes else asked,
        asked=asked,
        meals=integer(arguments, "meals_per_day", *MEALS_BOUNDS) or DEFAULT_MEALS,
        exclusions=exclusions,
        low_protein=low_protein,
        is_minor=is_minor,
        notes=("minor", *notes) if is_minor else notes,
    )


def _cautions(text: str, profile: Profile) -> tuple[tuple[str, ...], bool]:
    """(wording keys of what calls for caution, whether protein stays moderate)."""
    said = fold(text)
    spoken = ". ".join(part for part in said.split(",") if not _DENIES.search(part))
    stated = fold(". ".join((*profile.conditions, *profile.medication)))
    kidney = bool(_KIDNEY.search(spoken) or _KIDNEY.search(stated))
    pregnant = profile.pregnant or bool(_PREGNANT.search(spoken))
    condition = bool(profile.conditions or profile.medication or _CONDITION.search(spoken) or kidney)
    notes = [("pregnant", pregnant), ("condition", condition), ("kidney", kidney)]
    return tuple(key for key, holds in notes if holds), kidney
