"""How weekly load grows: phases, a bounded rise, a lighter week every fourth, a taper before the goal.

Load is minutes for endurance and hard sets for strength, whole numbers of `step`. No week exceeds the highest earlier
one by more than `MAX_RISE`, and the acute:chronic ratio stays below `MAX_RATIO`.

Sources: ACSM 2009 (doi:10.1249/MSS.0b013e3181915670); Gabbett 2016 (doi:10.1136/bjsports-2015-095788), a heuristic
contested by Impellizzeri 2020 (doi:10.1123/ijspp.2019-0864) and used here as a ceiling, not a target; taper of
40–60 %, Bosquet 2007 (doi:10.1249/mss.0b013e31806010e0).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

MAX_RISE = 0.10
MAX_RATIO = 1.30
DELOAD_EVERY = 4
DELOAD_SHARE = 0.70

Phase = Literal["base", "build", "peak", "taper"]


class Week(msgspec.Struct, frozen=True, kw_only=True):
    """`number` counts from 1; `load` is the week's total."""

    number: int
    phase: Phase
    load: int
    deload: bool


def weekly_loads(
    weeks: int, *, start: int, ceiling: int, step: int, taper: Sequence[float], peak_share: float = 1.0
) -> tuple[Week, ...]:
    """One Week per week. `taper` and `peak_share` are shares of the highest load for the last weeks and the peak."""
    phases = _phases(weeks, len(taper))
    made: list[Week] = []
    highest = start
    for number, phase in enumerate(phases, start=1):
        deload = phase != "taper" and number % DELOAD_EVERY == 0
        if phase == "taper":
            load = _steps(highest * taper[number - 1 - (weeks - len(taper))], step)
        elif deload:
            load = _steps(highest * DELOAD_SHARE, step)
        elif phase == "peak" and peak_share < 1:
            load = _steps(highest * peak_share, step)
        else:
            highest = highest if number == 1 else max(highest, min(ceiling, _steps(highest * (1 + MAX_RISE), step)))
            load = highest
        made.append(Week(number=number, phase=phase, load=load, deload=deload))
    return tuple(made)


def acute_chronic_ratio(loads: Sequence[float], week: int) -> float:
    """The load of week `week` (from 0) over the mean of the four weeks that end with it."""
    window = loads[max(0, week - 3) : week + 1]
    return loads[week] * len(window) / sum(window)


def _phases(weeks: int, taper: int) -> list[Phase]:
    growing = weeks - taper
    base = max(1, round(growing * 0.4))
    peak = max(1, round(growing * 0.2)) if growing >= 3 else 0
    build = growing - base - peak
    counts: dict[Phase, int] = {"base": base, "build": build, "peak": peak, "taper": taper}
    return [phase for phase, count in counts.items() for _ in range(count)]


def _steps(value: float, step: int) -> int:
    return max(step, int(value / step + 1e-9) * step)
