"""A strength plan as numbers: sessions of exercises, sets by week, repetitions and effort by phase.

Load is the week's hard sets, shared out over the exercises; effort is repetitions in reserve (RIR) and, for barbell
strength, a share of the one-repetition maximum.

Sources: dose-response of weekly sets per muscle, Schoenfeld 2017 (doi:10.1080/02640414.2016.1210197); progression
models, ACSM 2009 (doi:10.1249/MSS.0b013e3181915670); linear and undulating loading are equal for size, Grgic 2017
(doi:10.7717/peerj.3695); RIR scale, Zourdos 2016 (doi:10.1519/JSC.0000000000001049).
"""

from __future__ import annotations

import msgspec

from ngx_agents.agents.tools.training.exercises import CATALOGUE, Exercise, choose, suits
from ngx_agents.agents.tools.training.injuries import AREAS, forbidden_stress, is_severe, rested_patterns
from ngx_agents.agents.tools.training.load import Phase, Week, weekly_loads
from ngx_agents.agents.tools.training.request import GYM, TrainingRequest

START_SETS = {"beginner": 2.0, "intermediate": 2.4, "advanced": 2.8}  # hard sets per exercise
CEILING_SETS = {"beginner": 3.0, "intermediate": 3.5, "advanced": 4.0}
STRENGTH_PEAK_SHARE = 0.75  # less volume while the weights are heaviest
_FULL = (
    ("squat", "push", "pull", "hinge", "press_high", "core"),
    ("hinge", "press_high", "pull_high", "lunge", "push", "core"),
    ("lunge", "pull", "push", "hinge", "pull_high", "calf"),
)
_UPPER = (
    ("push", "pull", "press_high", "pull_high", "biceps", "triceps"),
    ("pull", "push", "pull_high", "press_high", "triceps", "biceps"),
)
_LOWER = (("squat", "hinge", "lunge", "calf", "core"), ("hinge", "squat", "lunge", "calf", "core"))
SPLITS: dict[int, tuple[tuple[str, tuple[str, ...]], ...]] = {
    2: (("full", _FULL[0]), ("full", _FULL[1])),
    3: (("full", _FULL[0]), ("full", _FULL[1]), ("full", _FULL[2])),
    4: (("upper", _UPPER[0]), ("lower", _LOWER[0]), ("upper", _UPPER[1]), ("lower", _LOWER[1])),
    5: (("upper", _UPPER[0]), ("lower", _LOWER[0]), ("full", _FULL[2]), ("upper", _UPPER[1]), ("lower", _LOWER[1])),
    6: (
        ("push", ("push", "press_high", "push", "triceps")), ("pull", ("pull_high", "pull", "biceps", "core")),
        ("legs", _LOWER[0]), ("push", ("press_high", "push", "press_high", "triceps")),
        ("pull", ("pull", "pull_high", "biceps", "core")), ("legs", _LOWER[1]),
    ),
}  # fmt: skip
DAYS: dict[int, tuple[int, ...]] = {2: (0, 3), 3: (0, 2, 4), 4: (0, 1, 3, 4), 5: (0, 1, 2, 4, 5), 6: (0, 1, 2, 3, 4, 5)}
_FILLERS = ("hinge", "push", "pull", "squat", "core")
MAIN = frozenset({"squat", "hinge", "push", "pull", "press_high", "pull_high"})


class Effort(msgspec.Struct, frozen=True, kw_only=True):
    """`percent` of the one-repetition maximum, None where effort is told by RIR alone."""

    reps: str
    rir: str
    percent: str | None = None
    rest_s: int = 90


_STRENGTH: dict[Phase, Effort] = {
    "base": Effort(reps="8–10", rir="3", percent="65–72", rest_s=120),
    "build": Effort(reps="5–6", rir="2", percent="75–82", rest_s=150),
    "peak": Effort(reps="3–4", rir="1–2", percent="85–90", rest_s=180),
    "taper": Effort(reps="3", rir="3", percent="75–80", rest_s=180),
}
_CAUTIOUS_PEAK = Effort(reps="5–6", rir="2–3", percent="75–80", rest_s=150)
_SIZE: dict[Phase, Effort] = {
    "base": Effort(reps="10–12", rir="3", rest_s=90),
    "build": Effort(reps="8–12", rir="2", rest_s=90),
    "peak": Effort(reps="6–10", rir="1", rest_s=120),
    "taper": Effort(reps="8–10", rir="3", rest_s=90),
}
_ACCESSORY = Effort(reps="10–15", rir="2–3", rest_s=60)


class Prescription(msgspec.Struct, frozen=True, kw_only=True):
    exercise: Exercise
    sets: int
    effort: Effort


class StrengthSession(msgspec.Struct, frozen=True, kw_only=True):
    """`day` is 0 for Monday; `focus` one of full, upper, lower, push, pull, legs."""

    day: int
    focus: str
    work: tuple[Prescription, ...]


class StrengthWeek(msgspec.Struct, frozen=True, kw_only=True):
    week: Week
    sessions: tuple[StrengthSession, ...]


def gear_of(request: TrainingRequest) -> tuple[str, ...]:
    """What may be used: what was said, otherwise a gym for strength and size, the body alone for general fitness."""
    if request.gear is not None:
        return request.gear
    return GYM if request.goal in ("strength", "hypertrophy") else ()


def strength_weeks(request: TrainingRequest) -> tuple[StrengthWeek, ...]:
    """The plan, week by week; the week's sets over all sessions follow `weekly_loads`."""
    menus = [(day, focus, _menu(patterns, request)) for day, focus, patterns in training_days(request)]
    slots = sum(len(menu) for _, _, menu in menus)
    weeks = weekly_loads(
        request.weeks,
        start=round(slots * START_SETS[request.level]),
        ceiling=round(slots * CEILING_SETS[request.level]),
        step=1,
        taper=(0.5,),
        peak_share=STRENGTH_PEAK_SHARE if request.goal == "strength" else 1.0,
    )
    return tuple(_week(week, menus, request) for week in weeks)


def training_days(request: TrainingRequest) -> list[tuple[int, str, tuple[str, ...]]]:
    """(day, focus, patterns) of each session. Strong pain takes patterns out, and sessions that little is left of."""
    rested = rested_patterns(request.injuries)
    split = zip(DAYS[request.sessions], SPLITS[request.sessions], strict=True)
    days = [(day, focus, tuple(p for p in patterns if p not in rested)) for day, (focus, patterns) in split]
    worthwhile = [each for each in days if len(MAIN.intersection(each[2])) >= 2]
    if len(worthwhile) >= 2:
        return worthwhile
    fillers = tuple(pattern for pattern in _FILLERS if pattern not in rested)
    return [(day, "full", tuple(dict.fromkeys((*patterns, *fillers)))) for day, _, patterns in days[:3]]


def sets_per_muscle(week: StrengthWeek) -> dict[str, float]:
    """Hard sets of the week per muscle: one for each muscle an exercise trains, half for each that helps."""
    counted: dict[str, float] = {}
    for session in week.sessions:
        for item in session.work:
            for muscle in item.exercise.muscles:
                counted[muscle] = counted.get(muscle, 0) + item.sets
            for muscle in item.exercise.helpers:
                counted[muscle] = counted.get(muscle, 0) + item.sets / 2
    return dict(sorted(counted.items()))


def support_work(request: TrainingRequest) -> tuple[Exercise, ...]:
    """The gentle exercises that the injured areas call for and nothing else forbids, at most six."""
    forbidden = forbidden_stress(request.injuries)
    gear = (*gear_of(request), "band")
    eased = [injury for injury in request.injuries if not is_severe(injury)]
    wanted = dict.fromkeys(item for injury in eased for item in AREAS[injury.area].add)
    rested = rested_patterns(request.injuries)
    fitting = (CATALOGUE[item] for item in wanted if CATALOGUE[item].pattern not in rested)
    return tuple(item for item in fitting if suits(item, gear=gear, level="beginner", forbidden=forbidden))[:6]


def runner_circuit(request: TrainingRequest) -> tuple[Exercise, ...]:
    """Strength for a runner: what the injuries call for first, then one exercise per pattern, at most seven."""
    forbidden = forbidden_stress(request.injuries)
    chosen = list(support_work(request)[:4])
    for pattern in ("squat", "hinge", "lunge", "calf", "core"):
        if pattern in rested_patterns(request.injuries):
            continue
        taken = {exercise.id for exercise in chosen}
        pick = choose(pattern, gear=request.gear or (), level=request.level, forbidden=forbidden, taken=taken)
        if pick is not None and pick.id not in taken:
            chosen.append(pick)
    return tuple(chosen[:7])


def _menu(patterns: tuple[str, ...], request: TrainingRequest) -> list[Exercise]:
    chosen: list[Exercise] = []
    forbidden = forbidden_stress(request.injuries)
    for pattern in patterns:
        taken = {exercise.id for exercise in chosen}
        pick = choose(pattern, gear=gear_of(request), level=request.level, forbidden=forbidden, taken=taken)
        if pick is not None and pick.id not in taken:
            chosen.append(pick)
    return chosen


def _week(week: Week, menus: list[tuple[int, str, list[Exercise]]], request: TrainingRequest) -> StrengthWeek:
    slots = [exercise for _, _, menu in menus for exercise in menu]
    sets = iter(_share(week.load, slots))
    sessions = tuple(
        StrengthSession(
            day=day,
            focus=focus,
            work=tuple(
                Prescription(exercise=exercise, sets=count, effort=_effort(exercise, week.phase, request))
                for exercise in menu
                if (count := next(sets)) > 0
            ),
        )
        for day, focus, menu in menus
    )
    return StrengthWeek(week=week, sessions=sessions)


def _share(total: int, slots: list[Exercise]) -> list[int]:
    """`total` sets over the slots, evenly, what is left over to the main lifts first."""
    even, left = divmod(total, len(slots))
    order = sorted(range(len(slots)), key=lambda i: slots[i].pattern not in MAIN)
    extra = set(order[:left])
    return [even + (1 if i in extra else 0) for i in range(len(slots))]


def _effort(exercise: Exercise, phase: Phase, request: TrainingRequest) -> Effort:
    if exercise.seconds is not None:
        return Effort(reps=f"{exercise.seconds} s", rir="2–3", rest_s=45)
    if exercise.pattern not in MAIN:
        return _ACCESSORY
    if request.careful and phase in ("build", "peak"):
        return _SIZE["base"]
    if request.goal != "strength":
        return _SIZE[phase]
    effort = _STRENGTH[phase]
    if phase == "peak" and (request.level == "beginner" or request.injuries):
        effort = _CAUTIOUS_PEAK
    if "barbell" not in exercise.gear:
        return msgspec.structs.replace(effort, percent=None)
    return effort
