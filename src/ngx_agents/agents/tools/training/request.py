"""What a training plan was asked for: read from text and profile, or checked from a model's arguments."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeVar, get_args

import msgspec

from ngx_agents.agents.tools.arguments import choice, integer, strings
from ngx_agents.agents.tools.health import health_from
from ngx_agents.agents.tools.reading import fold, numbered, words
from ngx_agents.agents.tools.training.exercises import GEAR, LEVELS, Level
from ngx_agents.agents.tools.training.injuries import AREAS, Injury, injuries_of
from ngx_agents.agents.tools.wording import load_table
from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Profile

Goal = Literal["run_5k", "run_10k", "run_half", "run_marathon", "strength", "hypertrophy", "general_fitness"]
GOALS: tuple[Goal, ...] = get_args(Goal)
RUNNING: frozenset[Goal] = frozenset({"run_5k", "run_10k", "run_half", "run_marathon"})
Value = TypeVar("Value")
WEEKS = (4, 24)
SESSIONS = (2, 6)
DEFAULT_WEEKS = 8
DEFAULT_SESSIONS = {"beginner": 3, "intermediate": 4, "advanced": 5}
GYM = ("barbell", "dumbbell", "machine", "band", "pull_up_bar")

_WEEKS = re.compile(r"(?<!\d)(\d{1,2})[ -](?:semanas?|sem\b|weeks?|wks?)")
_MONTHS = re.compile(r"(?<!\d)(\d{1,2})[ -](?:mes\b|meses|months?)( y medio)?")
_PAST = re.compile(
    r"\b(?:llevo|hace|desde hace|since|for the (?:last|past)|(?:last|past)|ultim[ao]s|been|tras|after)"
    r"(?: \w+){0,3}$|\b(?:pain|hurts|hurting)(?: \w+){0,3}$|\b(?:embarazada|embarazo|pregnant)(?: \w+)?$"
)
_AGO = re.compile(r"^ ?(?:ago|atras|sin |off\b|without|pregnant|along|de (?:embarazo|gestacion)|embarazada)")
_SESSIONS = re.compile(
    r"(?<!\d)(\d) ?(?:dias|dia|veces|sesiones|entrenamientos|entrenos|days?|times|sessions|workouts|x)"
    r" ?(?:de entreno |de entrenamiento |of training )?"
    r"(?:a la semana|por semana|semanales|a week|per week|/ ?(?:semana|week|sem)|every week|each week)"
    r"|\b(?:entrenar|entreno|train|run|correr) (\d) (?:dias|veces|days|times)"
)
_BARE_DAYS = re.compile(
    r"(?<!\bhace )(?<!\ben )(?<!\bin )(?<!\blast )(?<!\bpast )(?<!\bultimos )(?<!\bcada )(?<!\bevery )"
    r"(?<!\d)([2-6]) (?:dias|days)\b(?! (?:antes|despues|ago|atras|later|before|after))"
)
_WORDS = load_table("training/words.toml")
_GOAL_WORDS: tuple[tuple[Goal, re.Pattern[str]], ...] = tuple(
    (item["is"], words(*item["words"])) for item in _WORDS["goal"]
)
_LEVEL_WORDS: tuple[tuple[Level, re.Pattern[str]], ...] = tuple(
    (item["is"], words(*item["words"])) for item in _WORDS["level"]
)
_GEAR_WORDS: tuple[tuple[list[str], re.Pattern[str]], ...] = tuple(
    (item["is"], words(*item["words"])) for item in _WORDS["gear"]
)


class TrainingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`gear` None means it was not said. `careful`: the profile calls for moderate effort only."""

    goal: Goal
    weeks: int
    sessions: int
    level: Level
    level_assumed: bool
    gear: tuple[str, ...] | None
    injuries: tuple[Injury, ...]
    careful: bool = False


def read_weeks(text: str) -> int | None:
    """The duration the text asks for, in weeks and unbounded; a month counts four weeks; time past is no duration."""
    said = numbered(fold(text))
    for pattern, factor in ((_WEEKS, 1), (_MONTHS, 4)):
        for match in pattern.finditer(said):
            before, after = said[max(0, match.start() - 40) : match.start()].rstrip(), said[match.end() :]
            if not _PAST.search(before) and not _AGO.match(after):
                return int(match[1]) * factor + (2 if factor == 4 and match[2] else 0)
    return None


def read_goal(said: str) -> Goal | None:
    return next((goal for goal, pattern in _GOAL_WORDS if pattern.search(said)), None)


def read_level(said: str) -> Level | None:
    return next((level for level, pattern in _LEVEL_WORDS if pattern.search(said)), None)


def read_gear(said: str) -> tuple[str, ...] | None:
    """The equipment the text names, in catalogue order; empty for bodyweight only; None when it says nothing."""
    named = [gear for gear, pattern in _GEAR_WORDS if pattern.search(said)]
    if not named:
        return None
    return tuple(item for item in GEAR if any(item in gear for gear in named))


def read_sessions(said: str) -> int | None:
    """Sessions a week; days without "a week" count when they can be nothing else."""
    stated = next((int(match[1] or match[2]) for match in _SESSIONS.finditer(said)), None)
    if stated is None and (bare := _BARE_DAYS.search(said)):
        return int(bare[1])
    return stated


def arguments_from(text: str, profile: Profile, earlier: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments for `request_from`, within their bounds; what nobody said is left out.

    The text comes first, then the user's earlier messages, the newest first, then the profile.
    """
    messages = (text, *reversed(earlier))
    said = [numbered(fold(message)) for message in messages]
    goal = _first(map(read_goal, (*said, numbered(fold(". ".join(profile.goals))))))
    weeks = _first(map(read_weeks, messages))
    sessions = _first(map(read_sessions, said))
    gear = _first(map(read_gear, said))
    if gear is None and profile.equipment:
        gear = read_gear(fold(". ".join(profile.equipment)))
    injuries = injuries_of((*earlier, text), profile.injuries)
    found: dict[str, Any] = {
        "goal": goal,
        "duration_weeks": None if weeks is None else min(max(weeks, WEEKS[0]), WEEKS[1]),
        "sessions_per_week": None if sessions is None else min(max(sessions, SESSIONS[0]), SESSIONS[1]),
        "level": _first(map(read_level, said)) or profile.experience,
        "equipment": None if gear is None else list(gear),
        "injuries": [msgspec.to_builtins(injury) for injury in injuries] or None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _first(found: Iterable[Value | None]) -> Value | None:
    return next((value for value in found if value is not None), None)


def request_from(
    arguments: dict[str, Any], text: str, profile: Profile, earlier: Sequence[str] = ()
) -> TrainingRequest:
    """The checked request. Raises InvalidRequest.

    Injuries and states of health that the user or the profile told stand whatever the arguments say.
    """
    told = (*earlier, text)
    goal = choice(arguments, "goal", GOALS)
    level = choice(arguments, "level", LEVELS)
    known_level = next((name for name in LEVELS if name == level), None) or profile.experience or "beginner"
    gear = strings(arguments, "equipment") if arguments.get("equipment") is not None else None
    if gear is not None and (unknown := [item for item in gear if item not in GEAR]):
        raise InvalidRequest(f"equipment must be among {', '.join(GEAR)}, not {unknown[0]}", field="equipment")
    return TrainingRequest(
        goal=next((name for name in GOALS if name == goal), "general_fitness"),
        weeks=integer(arguments, "duration_weeks", *WEEKS) or DEFAULT_WEEKS,
        sessions=integer(arguments, "sessions_per_week", *SESSIONS) or DEFAULT_SESSIONS[known_level],
        level=known_level,
        level_assumed=level is None and profile.experience is None,
        gear=gear,
        injuries=_injuries(arguments, told, profile),
        careful=is_careful(profile) or bool(health_from(told, profile)),
    )


def is_careful(profile: Profile) -> bool:
    """Minors, pregnancy, chronic conditions, medication: no hard efforts without a professional's word."""
    minor = profile.age is not None and profile.age < 18
    return minor or profile.pregnant or bool(profile.conditions) or bool(profile.medication)


def _injuries(arguments: dict[str, Any], told: Sequence[str], profile: Profile) -> tuple[Injury, ...]:
    stated = arguments.get("injuries") or []
    try:
        given = msgspec.convert(stated, list[Injury])
    except msgspec.ValidationError as exc:
        raise InvalidRequest("injuries must be a list of {area, side, pain}", field="injuries") from exc
    for injury in given:
        if injury.area not in AREAS:
            raise InvalidRequest(f"area must be among {', '.join(AREAS)}", field="injuries.area")
        if injury.pain is not None and not 0 <= injury.pain <= 10:
            raise InvalidRequest("pain must be from 0 to 10", field="injuries.pain")
    merged = {injury.area: injury for injury in injuries_of(told, profile.injuries)}
    merged |= {injury.area: _joined(merged.get(injury.area), injury) for injury in given}
    return tuple(merged[area] for area in AREAS if area in merged)


def _joined(known: Injury | None, given: Injury) -> Injury:
    """The given injury, never with less pain than the user said."""
    if known is None:
        return given
    pains = [pain for pain in (known.pain, given.pain) if pain is not None]
    return Injury(area=given.area, side=given.side or known.side, pain=max(pains, default=None))
