from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.agents.tools.training.load import MAX_RATIO, MAX_RISE, Week, acute_chronic_ratio, weekly_loads
from tests.agents.tools.contexts import QUICK

PLANS = st.builds(
    lambda weeks, start, more, step, taper, peak: (
        step,
        weekly_loads(weeks, start=start * step, ceiling=(start + more) * step, step=step, taper=taper, peak_share=peak),
    ),
    weeks=st.integers(4, 24),
    start=st.integers(8, 60),
    more=st.integers(0, 100),
    step=st.sampled_from([1, 5]),
    taper=st.sampled_from([(0.5,), (0.7, 0.5), (0.8, 0.65, 0.5)]),
    peak=st.sampled_from([0.75, 1.0]),
)


@QUICK
@given(PLANS)
def test_no_week_rises_more_than_a_tenth_over_the_best_before_it(made: tuple[int, tuple[Week, ...]]) -> None:
    _, weeks = made
    for index in range(1, len(weeks)):
        assert weeks[index].load <= max(week.load for week in weeks[:index]) * (1 + MAX_RISE) + 1e-9


@QUICK
@given(PLANS)
def test_the_acute_chronic_ratio_stays_below_its_bound(made: tuple[int, tuple[Week, ...]]) -> None:
    loads = [week.load for week in made[1]]
    assert all(acute_chronic_ratio(loads, index) <= MAX_RATIO for index in range(len(loads)))


@QUICK
@given(PLANS)
def test_every_fourth_week_before_the_taper_is_lighter(made: tuple[int, tuple[Week, ...]]) -> None:
    step, weeks = made
    for week in weeks:
        assert week.deload == (week.phase != "taper" and week.number % 4 == 0)
        if week.deload:
            assert week.load <= 0.71 * max(other.load for other in weeks[: week.number - 1]) + step


@QUICK
@given(PLANS)
def test_phases_come_in_order_and_loads_are_whole_steps(made: tuple[int, tuple[Week, ...]]) -> None:
    step, weeks = made
    order = ["base", "build", "peak", "taper"]
    places = [order.index(week.phase) for week in weeks]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == 3
    assert [week.number for week in weeks] == list(range(1, len(weeks) + 1))
    assert all(week.load > 0 and week.load % step == 0 for week in weeks)


def test_eight_weeks_from_ninety_minutes() -> None:
    weeks = weekly_loads(8, start=90, ceiling=200, step=5, taper=(0.55,))
    assert [week.load for week in weeks] == [90, 95, 100, 70, 110, 120, 130, 70]
