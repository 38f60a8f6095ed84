"""The trend of logged body weight: robust slope, smoothed level, cautious projection.

Only logged entries count; fewer than `MIN_POINTS` days or `MIN_SPAN_DAYS` between first and last make no trend.

Sources: Theil–Sen slope, Sen 1968 (doi:10.1080/01621459.1968.10480934); a healthy rate of loss up to about 1 % of body
weight a week, Garthe 2011 (doi:10.1123/ijsnem.21.2.97); change slows as weight falls, Hall 2011
(doi:10.1016/S0140-6736(11)60812-X), hence the projection's short reach and its range.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

from ngx_agents.state.model import LogEntry

DAY_S = 86_400.0
MIN_POINTS = 3
MIN_SPAN_DAYS = 7.0
MAX_POINTS = 60  # more days are put together, so that the pairs stay few
HALF_LIFE_DAYS = 4.0
HEALTHY_RATE = 0.01
STEADY_RATE = 0.001  # of body weight a week; below it is no change
PROJECTION_DAYS = 28
BOUNDS_KG = (25.0, 400.0)


class Point(msgspec.Struct, frozen=True):
    """`at` is Unix seconds, `kg` the median of what was logged around then."""

    at: float
    kg: float


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """Rates are kg per week; `smoothed` has one value per point; the projection is for `PROJECTION_DAYS` ahead."""

    points: tuple[Point, ...]
    smoothed: tuple[float, ...]
    rate: float
    least_squares_rate: float
    projected_kg: float
    projected_range: tuple[float, float]

    @property
    def change_kg(self) -> float:
        return self.points[-1].kg - self.points[0].kg

    @property
    def share_per_week(self) -> float:
        """The robust rate as a share of the present weight."""
        return self.rate / self.smoothed[-1]


def points_of(entries: Sequence[LogEntry]) -> tuple[Point, ...]:
    """One point per day that has a plausible weight, oldest first, at most `MAX_POINTS`."""
    days: dict[int, list[tuple[float, float]]] = {}
    for entry in entries:
        kg = entry.data.get("kg")
        if isinstance(kg, int | float) and not isinstance(kg, bool) and BOUNDS_KG[0] <= kg <= BOUNDS_KG[1]:
            days.setdefault(int(entry.at // DAY_S), []).append((entry.at, float(kg)))
    daily = [_middle(days[day]) for day in sorted(days)]
    size = -(-len(daily) // MAX_POINTS) or 1
    grouped = [daily[i : i + size] for i in range(0, len(daily), size)]
    return tuple(_middle([(point.at, point.kg) for point in group]) for group in grouped)


def is_enough(points: Sequence[Point]) -> bool:
    """Whether the points carry a trend."""
    return len(points) >= MIN_POINTS and span_days(points) >= MIN_SPAN_DAYS


def span_days(points: Sequence[Point]) -> float:
    return (points[-1].at - points[0].at) / DAY_S if points else 0.0


def trend_of(points: Sequence[Point]) -> Trend:
    """The trend of enough points (`is_enough`)."""
    rate = theil_sen(points)
    smoothed = smooth(points)
    weeks = PROJECTION_DAYS / 7
    spread = median(abs(point.kg - level) for point, level in zip(points, smoothed, strict=True))
    ends = sorted((smoothed[-1] + rate * weeks * 0.5, smoothed[-1] + rate * weeks * 1.1))
    return Trend(
        points=tuple(points),
        smoothed=smoothed,
        rate=rate,
        least_squares_rate=least_squares(points),
        projected_kg=smoothed[-1] + rate * weeks * 0.8,
        projected_range=(ends[0] - spread, ends[1] + spread),
    )


def theil_sen(points: Sequence[Point]) -> float:
    """The median of the slopes of all pairs, kg per week: one wild entry does not move it."""
    slopes = [
        (later.kg - earlier.kg) / (later.at - earlier.at)
        for index, earlier in enumerate(points)
        for later in points[index + 1 :]
    ]
    return median(slopes) * 7 * DAY_S


def least_squares(points: Sequence[Point]) -> float:
    """The slope of least squares, kg per week."""
    mean_at = sum(point.at for point in points) / len(points)
    mean_kg = sum(point.kg for point in points) / len(points)
    over = sum((point.at - mean_at) * (point.kg - mean_kg) for point in points)
    return over / sum((point.at - mean_at) ** 2 for point in points) * 7 * DAY_S


def smooth(points: Sequence[Point]) -> tuple[float, ...]:
    """The exponentially weighted level at each point; a gap of `HALF_LIFE_DAYS` forgets half."""
    level = points[0].kg
    levels = [level]
    for before, point in pairwise(points):
        keep = 0.5 ** ((point.at - before.at) / DAY_S / HALF_LIFE_DAYS)
        level = keep * level + (1 - keep) * point.kg
        levels.append(level)
    return tuple(levels)


def _middle(values: list[tuple[float, float]]) -> Point:
    return Point(median(at for at, _ in values), median(kg for _, kg in values))
