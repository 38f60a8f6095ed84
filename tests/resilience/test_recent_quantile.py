"""Quantiles of what was seen lately."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience.recent_quantile import MIN_SAMPLES, RecentQuantile


@given(st.lists(st.floats(0.002, 500.0), min_size=MIN_SAMPLES, max_size=300), st.sampled_from([0.5, 0.9, 0.99]))
def test_it_is_at_most_an_eighth_above_the_true_quantile_and_never_below(seen: list[float], share: float) -> None:
    recent = RecentQuantile(clock=HandClock())
    for value in seen:
        recent.observe(value)
    found = recent.quantile(share)
    assert found is not None
    ordered = sorted(seen)
    true = ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
    assert true * 0.999 <= found <= true * 1.13


def test_too_few_observations_say_nothing() -> None:
    recent = RecentQuantile(clock=HandClock())
    for _ in range(MIN_SAMPLES - 1):
        recent.observe(1.0)
    assert recent.quantile(0.5) is None


def test_what_is_older_than_the_window_is_forgotten() -> None:
    clock = HandClock()
    recent = RecentQuantile(window_s=300, clock=clock)
    for _ in range(50):
        recent.observe(10.0)
    clock.at_s += 151
    for _ in range(50):
        recent.observe(0.1)
    assert recent.quantile(0.99) == pytest.approx(10.0, rel=0.13)
    clock.at_s += 151
    for _ in range(50):
        recent.observe(0.1)
    assert recent.quantile(0.99) == pytest.approx(0.1, rel=0.13)
    clock.at_s += 1000
    assert recent.quantile(0.5) is None


def test_values_outside_of_its_range_are_counted_at_the_edge() -> None:
    recent = RecentQuantile(clock=HandClock())
    for _ in range(MIN_SAMPLES):
        recent.observe(0.0)
    assert recent.quantile(0.5) == pytest.approx(0.001, rel=0.13)
    for _ in range(100):
        recent.observe(1e9)
    found = recent.quantile(0.9)
    assert found is not None
    assert found > 900
