"""A running plan as numbers: weeks of sessions in minutes, with zones, and what an injury changes.

Sessions are multiples of five minutes. About four fifths of the time is easy. An injury of the legs starts lower, on
walk-run, with bike or elliptical in place of the fast session; pain from 4 of 10 postpones running, from 7 removes it.

Sources: intensity distribution, Seiler 2010 (doi:10.1123/ijspp.5.3.276); dose of exercise, ACSM, Garber 2011
(doi:10.1249/MSS.0b013e318213fefb); strength against injury, Lauersen 2014 (doi:10.1136/bjsports-2013-092538);
maximal heart rate 208 - 0.7 x age, Tanaka 2001 (doi:10.1016/S0735-1097(00)01054-8).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.agents.tools.training.injuries import AREAS, EASE_AT, REFER_AT, Injury
from ngx_agents.agents.tools.training.load import Week, weekly_loads
from ngx_agents.agents.tools.training.request import Goal, TrainingRequest

STEP_MIN = 5
DISTANCE_KM: dict[Goal, float] = {"run_5k": 5.0, "run_10k": 10.0, "run_half": 21.1, "run_marathon": 42.2}
EASY_PACE_MIN_KM = {"beginner": 7.0, "intermediate": 6.0, "advanced": 5.25}
START_MIN = {"beginner": 90, "intermediate": 140, "advanced": 220}
CEILING_MIN: dict[Goal, dict[str, int]] = {
    "run_5k": {"beginner": 150, "intermediate": 220, "advanced": 320},
    "run_10k": {"beginner": 200, "intermediate": 280, "advanced": 400},
    "run_half": {"beginner": 260, "intermediate": 340, "advanced": 460},
    "run_marathon": {"beginner": 320, "intermediate": 420, "advanced": 560},
}
LONG_SHARE_NEEDED = {"run_5k": 1.0, "run_10k": 0.9, "run_half": 0.8, "run_marathon": 0.65}
INJURED_SHARE = 0.8
WALK_RUN_WEEKS = 2
EASED_WEEKS = 4  # of an injured runner, without a fast run
WALK_RUN_MIN = ((1, 2), (2, 2), (3, 1), (5, 1))  # minutes of running and walking, week by week

Kind = Literal["easy", "walk_run", "long", "tempo", "intervals", "race_pace", "cross", "strength", "shakeout", "goal"]
ZONES: dict[Kind, tuple[int, int, str]] = {  # % of maximal heart rate, RPE of 10
    "easy": (65, 75, "3–4"),
    "walk_run": (60, 72, "2–3"),
    "long": (65, 75, "3–4"),
    "tempo": (80, 88, "6–7"),
    "intervals": (88, 95, "8"),
    "race_pace": (82, 90, "6–7"),
    "cross": (65, 80, "3–5"),
    "strength": (0, 0, "6–7"),
    "shakeout": (60, 70, "2"),
    "goal": (80, 92, "7–8"),
}
# what the slots of a week are, by sessions a week; strength has its own minutes, outside the endurance load
_SLOTS: dict[int, tuple[Kind, ...]] = {
    2: ("tempo", "long"),
    3: ("easy", "tempo", "long"),
    4: ("strength", "tempo", "easy", "long"),
    5: ("easy", "tempo", "strength", "easy", "long"),
    6: ("easy", "tempo", "strength", "easy", "strength", "long"),
}
DAYS: dict[int, tuple[int, ...]] = {2: (1, 5), 3: (1, 3, 6), 4: (0, 1, 3, 6), 5: (0, 1, 3, 4, 6), 6: (0, 1, 2, 3, 4, 6)}
STRENGTH_MIN = 25
_UNCOUNTED: frozenset[Kind] = frozenset({"strength", "goal"})
_WEIGHT: dict[Kind, float] = {"long": 1.6, "easy": 1.0, "tempo": 1.1}


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """`day` is 0 for Monday. `km` is an estimate at the level's easy pace; None where it does not apply.

    `alternate` are the minutes of running and walking of a walk-run.
    """

    day: int
    kind: Kind
    minutes: int
    km: float | None
    counts: bool
    alternate: tuple[int, int] = WALK_RUN_MIN[0]


class RunningWeek(msgspec.Struct, frozen=True, kw_only=True):
    week: Week
    sessions: tuple[Session, ...]


def leg_injuries(injuries: tuple[Injury, ...]) -> tuple[Injury, ...]:
    return tuple(injury for injury in injuries if AREAS[injury.area].legs)


class Easing(msgspec.Struct, frozen=True, kw_only=True):
    """How a plan starts: `resting` weeks without running, then `walking` weeks of walk-run.

    `never`: no running in the whole plan; `hurt`: an injury of the legs.
    """

    resting: int = 0
    walking: int = 0
    never: bool = False
    hurt: bool = False


def easing_of(request: TrainingRequest) -> Easing:
    """What level and injuries ask of the first weeks."""
    worst = max((injury.pain or 0 for injury in request.injuries), default=0)
    hurt = bool(leg_injuries(request.injuries))
    if worst >= REFER_AT:
        return Easing(never=True, hurt=hurt)
    walking = WALK_RUN_WEEKS if request.level == "beginner" else 0
    if not hurt:
        return Easing(walking=walking)
    return Easing(resting=WALK_RUN_WEEKS if worst >= EASE_AT else 0, walking=walking + WALK_RUN_WEEKS, hurt=True)


def running_weeks(request: TrainingRequest) -> tuple[RunningWeek, ...]:
    """The plan, week by week. Its endurance minutes follow `weekly_loads`."""
    easing = easing_of(request)
    start = START_MIN[request.level]
    if easing.hurt:
        start = -(-round(start * INJURED_SHARE) // STEP_MIN) * STEP_MIN
    weeks = weekly_loads(
        request.weeks,
        start=start,
        ceiling=max(start, CEILING_MIN[request.goal][request.level]),
        step=STEP_MIN,
        taper=_taper(request.goal, request.weeks),
    )
    return tuple(RunningWeek(week=week, sessions=_sessions(request, week, easing)) for week in weeks)


def longest_run_min(weeks: tuple[RunningWeek, ...]) -> int:
    """Minutes of the longest run before the goal day."""
    return max((s.minutes for week in weeks for s in week.sessions if s.kind in ("long", "walk_run")), default=0)


def is_reachable(request: TrainingRequest, weeks: tuple[RunningWeek, ...]) -> bool:
    """Whether the long run grows far enough to cover the distance without improvising."""
    needed_min = DISTANCE_KM[request.goal] * EASY_PACE_MIN_KM[request.level]
    return longest_run_min(weeks) >= needed_min * LONG_SHARE_NEEDED[request.goal]


def weeks_needed(request: TrainingRequest) -> int | None:
    """The shortest of the usual durations above the asked one that makes the goal reachable; None when none does."""
    for weeks in (6, 8, 10, 12, 16, 20, 24):
        longer = msgspec.structs.replace(request, weeks=weeks)
        if weeks > request.weeks and is_reachable(longer, running_weeks(longer)):
            return weeks
    return None


def _taper(goal: Goal, weeks: int) -> tuple[float, ...]:
    if goal == "run_marathon" and weeks >= 12:
        return (0.80, 0.65, 0.50)
    if goal in ("run_half", "run_marathon") and weeks >= 8:
        return (0.70, 0.50)
    return (0.55,)


def _sessions(request: TrainingRequest, week: Week, easing: Easing) -> tuple[Session, ...]:
    slots = _SLOTS[request.sessions]
    kinds = [_kind(slot, request, week, easing) for slot in slots]
    weights = [_WEIGHT[slot] for slot, kind in zip(slots, kinds, strict=True) if kind not in _UNCOUNTED]
    minutes = iter(_split(week.load, weights))
    walked = week.number - 1 - easing.resting
    alternate = WALK_RUN_MIN[min(max(walked, 0), len(WALK_RUN_MIN) - 1)]
    made = []
    for day, kind in zip(DAYS[request.sessions], kinds, strict=True):
        counts = kind not in _UNCOUNTED
        length = next(minutes) if counts else _fixed_min(kind, request)
        km = DISTANCE_KM[request.goal] if kind == "goal" else _km(kind, length, request.level)
        made.append(Session(day=day, kind=kind, minutes=length, km=km, counts=counts, alternate=alternate))
    return tuple(made)


def _fixed_min(kind: Kind, request: TrainingRequest) -> int:
    if kind == "strength":
        return STRENGTH_MIN
    return round(DISTANCE_KM[request.goal] * EASY_PACE_MIN_KM[request.level])


def _kind(slot: Kind, request: TrainingRequest, week: Week, easing: Easing) -> Kind:
    if slot == "strength":
        return slot
    if easing.never or week.number <= easing.resting:
        return "cross"
    if slot == "long" and week.number == request.weeks:
        return "goal"
    if slot == "tempo":
        eased = easing.hurt and week.number <= easing.resting + EASED_WEEKS
        return "cross" if eased else _quality(request, week, hurt=easing.hurt)
    if week.number <= easing.resting + easing.walking:
        return "walk_run"
    if slot == "easy" and week.phase == "taper":
        return "shakeout"
    return slot


def _quality(request: TrainingRequest, week: Week, *, hurt: bool) -> Kind:
    """The fast session: none in a beginner's base, intervals only without injury of the legs."""
    if request.careful or week.deload or (request.level == "beginner" and week.phase == "base"):
        return "easy"
    if week.phase == "base" or (week.phase == "build" and hurt):
        return "tempo"
    if week.phase == "build":
        return "intervals" if request.goal in ("run_5k", "run_10k") and week.number % 2 else "tempo"
    return "race_pace"


def _split(total: int, weights: list[float]) -> list[int]:
    """`total` minutes shared out by weight in whole steps, nothing lost: the largest remainders are rounded up."""
    steps = total // STEP_MIN
    exact = [steps * weight / sum(weights) for weight in weights]
    share = [int(value) for value in exact]
    by_remainder = sorted(range(len(weights)), key=lambda i: share[i] - exact[i])
    for index in by_remainder[: steps - sum(share)]:
        share[index] += 1
    return [count * STEP_MIN for count in share]


def _km(kind: Kind, minutes: int, level: str) -> float | None:
    if kind in ("cross", "strength"):
        return None
    slower = 1.25 if kind == "walk_run" else 1.0
    return round(minutes / (EASY_PACE_MIN_KM[level] * slower) * 2) / 2
