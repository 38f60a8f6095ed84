"""The exercise catalogue and the choice of an exercise for a movement pattern."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Literal

import msgspec

from ngx_agents.agents.tools.wording import load_table

Level = Literal["beginner", "intermediate", "advanced"]
LEVELS: tuple[Level, ...] = ("beginner", "intermediate", "advanced")
GEAR: tuple[str, ...] = ("barbell", "dumbbell", "kettlebell", "machine", "band", "pull_up_bar", "medicine_ball")


class Exercise(msgspec.Struct, frozen=True, kw_only=True):
    """`muscles` count a whole set, `helpers` half a set. `seconds` is set for holds, which have no repetitions."""

    id: str
    name: dict[str, str]
    pattern: str
    muscles: tuple[str, ...]
    helpers: tuple[str, ...] = ()
    gear: tuple[str, ...] = ()
    level: Level = "beginner"
    stress: tuple[str, ...] = ()
    seconds: int | None = None


CATALOGUE: dict[str, Exercise] = {
    key: msgspec.convert({"id": key, **table}, Exercise) for key, table in load_table("training/exercises.toml").items()
}
_BY_PATTERN: dict[str, list[Exercise]] = {}
for _exercise in CATALOGUE.values():
    _BY_PATTERN.setdefault(_exercise.pattern, []).append(_exercise)


def suits(exercise: Exercise, *, gear: Collection[str], level: Level, forbidden: Collection[str]) -> bool:
    """Whether it can be done with `gear`, at `level`, without any of the `forbidden` stress tags."""
    if exercise.gear and not any(item in gear for item in exercise.gear):
        return False
    if LEVELS.index(exercise.level) > LEVELS.index(level):
        return False
    return not any(tag in forbidden for tag in exercise.stress)


def choose(
    pattern: str, *, gear: Collection[str], level: Level, forbidden: Collection[str], taken: Collection[str] = ()
) -> Exercise | None:
    """The preferred exercise of the pattern that suits, one not yet `taken` first; None when none suits."""
    fitting = [
        exercise for exercise in _BY_PATTERN[pattern] if suits(exercise, gear=gear, level=level, forbidden=forbidden)
    ]
    fresh = [exercise for exercise in fitting if exercise.id not in taken]
    return next(iter(fresh or fitting), None)


def substitutions(
    wanted: Iterable[str], *, gear: Collection[str], level: Level, forbidden: Collection[str]
) -> list[tuple[Exercise, Exercise | None]]:
    """For each pattern whose preferred exercise an injury rules out: that exercise and what stands in for it."""
    changed = []
    for pattern in wanted:
        usual = choose(pattern, gear=gear, level=level, forbidden=())
        allowed = choose(pattern, gear=gear, level=level, forbidden=forbidden)
        if usual is not None and usual is not allowed:
            changed.append((usual, allowed))
    return changed
