from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.weight.trend import (
    DAY_S,
    MAX_POINTS,
    Point,
    is_enough,
    least_squares,
    points_of,
    smooth,
    theil_sen,
    trend_of,
)
from ngx_agents.state.model import LogEntry
from tests.agents.tools.contexts import NOW, QUICK, weights

SERIES = st.lists(st.floats(40, 150), min_size=3, max_size=60).map(
    lambda values: tuple(Point(NOW + index * 3 * DAY_S, kg) for index, kg in enumerate(values))
)


def line(rate: float, *, start: float = 80.0, count: int = 12) -> list[Point]:
    return [Point(NOW + day * 7 * DAY_S, start + rate * day) for day in range(count)]


@pytest.mark.parametrize("rate", [-0.5, 0.0, 0.35])
def test_both_slopes_of_a_straight_line_are_its_own(rate: float) -> None:
    assert theil_sen(line(rate)) == pytest.approx(rate, abs=1e-9)
    assert least_squares(line(rate)) == pytest.approx(rate, abs=1e-9)


def test_one_wild_entry_moves_least_squares_but_not_the_robust_slope() -> None:
    points = line(-0.5)
    points[-1] = Point(points[-1].at, 130.0)
    assert theil_sen(points) == pytest.approx(-0.5, abs=0.05)
    assert least_squares(points) > 0.5


@QUICK
@given(SERIES)
def test_the_smoothed_level_stays_between_the_extremes(points: tuple[Point, ...]) -> None:
    levels = smooth(points)
    low, high = min(point.kg for point in points), max(point.kg for point in points)
    assert len(levels) == len(points)
    assert all(low - 1e-9 <= level <= high + 1e-9 for level in levels)


@QUICK
@given(SERIES)
def test_the_projection_lies_within_its_range_on_the_side_of_the_trend(points: tuple[Point, ...]) -> None:
    trend = trend_of(points)
    low, high = trend.projected_range
    assert low - 1e-9 <= trend.projected_kg <= high + 1e-9
    assert (trend.projected_kg - trend.smoothed[-1]) * trend.rate >= -1e-9


@pytest.mark.parametrize(
    ("days", "enough"), [((), False), ((1,), False), ((14, 1), False), ((3, 2, 1), False), ((9, 5, 1), True)]
)
def test_three_days_over_a_week_are_needed(days: tuple[int, ...], enough: bool) -> None:
    assert is_enough(points_of(weights(*((day, 80.0) for day in days)))) is enough


def test_entries_of_one_day_are_one_point() -> None:
    assert len(points_of(weights((1.0, 80.0), (1.01, 81.0), (1.02, 90.0)))) == 1
    assert points_of(weights((1.0, 80.0), (1.01, 81.0), (1.02, 90.0)))[0].kg == 81.0


@pytest.mark.parametrize("value", [None, "80", True, 0, 5000, float("nan")])
def test_implausible_entries_are_left_out(value: object) -> None:
    entry = LogEntry(id="x", kind="weight", at=NOW, data={"kg": value})
    assert points_of([entry]) == ()


def test_years_of_entries_are_put_together() -> None:
    points = points_of(weights(*((day, 80 + day / 100) for day in range(1000))))
    assert len(points) <= MAX_POINTS
    assert [point.at for point in points] == sorted(point.at for point in points)
