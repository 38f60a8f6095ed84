from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience import priority
from ngx_agents.resilience.priority import EVERYBODY, RecentUse, Threshold, level_of


def test_who_used_more_lately_has_the_higher_quantile_and_half_is_forgotten_each_minute() -> None:
    clock = HandClock()
    use = RecentUse(clock)
    use.add("old", 100.0)
    clock.advance(60.0)
    use.add("new", 60.0)
    assert use.quantile("nobody") == use.quantile("old") == 0.0
    assert use.quantile("new") == 0.5


def test_what_is_remembered_is_bounded_and_outlives_years() -> None:
    clock = HandClock()
    use = RecentUse(clock)
    for number in range(priority.MAX_KEYS + 100):
        use.add(f"k{number}", 1.0)
        clock.advance(1_000.0)
    assert len(use._used) == priority.MAX_KEYS
    assert use.quantile(f"k{priority.MAX_KEYS + 99}") > 0.99
    assert use.quantile("k0") == 0.0


@given(st.integers(0, 3), st.floats(0.0, 1.0, exclude_max=True), st.integers(0, 3), st.floats(0.0, 1.0))
def test_class_comes_before_use(one: int, one_use: float, other: int, other_use: float) -> None:
    low, high = level_of(one, one_use), level_of(other, min(other_use, 0.999))
    assert 0 <= low <= EVERYBODY
    if one < other:
        assert low < high


def test_the_threshold_follows_the_levels_that_come_down_by_a_twentieth_and_up_by_a_hundredth() -> None:
    threshold = Threshold()
    for level in range(400):
        threshold.saw(level)
    threshold.step(is_overloaded=True)
    assert 375 <= threshold.value <= 380
    for _ in range(4):
        threshold.step(is_overloaded=False)
    assert threshold.value < EVERYBODY
    threshold.step(is_overloaded=False)
    assert threshold.value == EVERYBODY


def test_under_lasting_overload_the_least_important_are_shed_and_the_most_important_are_not() -> None:
    threshold = Threshold()
    for number in range(3000):
        threshold.saw(number % 400)
    for _ in range(200):
        threshold.step(is_overloaded=True)
    assert 0 < threshold.value <= 10
