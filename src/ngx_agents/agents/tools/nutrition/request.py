"""What a meal plan was asked for, and which cautions of the profile and text bind it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from ngx_agents.agents.tools.arguments import choice, integer, strings
from ngx_agents.agents.tools.health import State, health_from
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
_NOTED: tuple[State, ...] = ("pregnant", "condition", "kidney")

_MEALS = re.compile(r"(?<!\d)(\d) (?:comidas|tiempos|meals)\b")
_LOSE = words(
    "bajar", "perder", "adelgaz", "defini", "quemar grasa", "deficit", "menos grasa", "lose", "losing", "cut$",
    "cutting", "slim", "fat loss", "weight loss", "leaner", "burn fat",
)  # fmt: skip
_GAIN = words(
    "ganar", "subir de peso", "subir peso", "aumentar", "volumen", "masa muscular", "hipertrof", "superavit", "gain",
    "gaining", "bulk", "build muscle", "muscle mass", "surplus", "hypertroph",
)  # fmt: skip


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


def arguments_from(text: str, profile: Profile, earlier: Sequence[str] = ()) -> dict[str, Any]:
    """Goal and number of meals as text, earlier messages (the newest first) or profile say; exclusions of them all."""
    said = [numbered(fold(message)) for message in (text, *reversed(earlier))]
    stated = (*said, fold(". ".join(profile.goals)))
    goal = next((goal for each in stated if (goal := read_goal(each)) is not None), None)
    found: dict[str, Any] = {} if goal is None else {"goal": goal}
    if match := next((match for each in said if (match := _MEALS.search(each))), None):
        found["meals_per_day"] = min(max(int(match[1]), MEALS_BOUNDS[0]), MEALS_BOUNDS[1])
    exclusions = exclusions_from(text, profile, earlier=earlier)
    if exclusions.allergens:
        found["allergies"] = [item for item in ALLERGENS if item in exclusions.allergens]
    if exclusions.diets:
        found["restrictions"] = [item for item in DIETS if item in exclusions.diets]
    return found


def read_goal(said: str) -> EatingGoal | None:
    if _LOSE.search(said):
        return "lose_fat"
    return "gain_muscle" if _GAIN.search(said) else None


def request_from(arguments: dict[str, Any], text: str, profile: Profile, earlier: Sequence[str] = ()) -> MealRequest:
    """The checked request; cautions turn a deficit or surplus into maintenance. Raises InvalidRequest."""
    chosen = choice(arguments, "goal", GOALS)
    asked: EatingGoal = next((name for name in GOALS if name == chosen), "maintain")
    stated = (*strings(arguments, "allergies"), *strings(arguments, "restrictions"))
    exclusions = exclusions_from(text, profile, stated, earlier)
    person = person_from(text, profile, earlier)
    notes, low_protein = _cautions((*earlier, text), profile)
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


def _cautions(messages: Sequence[str], profile: Profile) -> tuple[tuple[str, ...], bool]:
    """(wording keys of what calls for caution, whether protein stays moderate)."""
    health = health_from(messages, profile)
    return tuple(key for key in _NOTED if key in health), "kidney" in health
