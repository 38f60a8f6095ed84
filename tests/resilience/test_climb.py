"""A climb regains what it had quickly, goes beyond only when wanted, and stays finite."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.climb import Climb


def made() -> Climb:
    return Climb(low=70.0, target=95.0, step=1.0, regain_s=1.0, doubling_s=1.0)


def test_it_regains_its_target_in_the_time_given_even_when_not_wanted() -> None:
    climb = made()
    climb.advance(0.5, is_wanted=False)
    assert climb.value == pytest.approx(82.5)
    climb.advance(0.5, is_wanted=False)
    assert climb.value == 95.0


def test_beyond_the_target_its_steps_double_and_only_when_wanted() -> None:
    climb = made()
    climb.advance(1.0, is_wanted=True)
    climb.advance(10.0, is_wanted=False)
    assert climb.value == 95.0
    seen = []
    for _ in range(4):
        climb.advance(1.0, is_wanted=True)
        seen.append(climb.value - 95.0)
    assert seen == [1.0, 3.0, 7.0, 15.0]


@given(steps=st.lists(st.tuples(st.floats(0.0, 1e6), st.booleans()), max_size=50))
def test_it_never_falls_and_stays_finite(steps: list[tuple[float, bool]]) -> None:
    climb = made()
    before = climb.value
    for passed_s, is_wanted in steps:
        climb.advance(passed_s, is_wanted=is_wanted)
        assert before <= climb.value < 1e9
        before = climb.value
