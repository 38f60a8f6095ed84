"""A limit per minute is never exceeded by more than one bucket, and a debt is waited for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.errors import ConfigError
from ngx_agents.resilience.token_bucket import TokenBucket


@given(takes=st.lists(st.tuples(st.floats(0.1, 50.0), st.floats(0.0, 20.0)), max_size=100))
def test_what_is_taken_never_exceeds_the_bucket_and_what_flowed_in(takes: list[tuple[float, float]]) -> None:
    clock = HandClock()
    bucket = TokenBucket(per_minute=60.0, clock=clock)
    began_s, taken = clock.at_s, 0.0
    for amount, pause_s in takes:
        clock.at_s += pause_s
        if bucket.take(amount) == 0.0:
            taken += amount
        assert taken <= 60.0 + (clock.at_s - began_s) + 1e-6


@given(first=st.floats(1.0, 60.0), second=st.floats(1.0, 60.0))
def test_the_wait_it_tells_is_the_wait_it_takes(first: float, second: float) -> None:
    clock = HandClock()
    bucket = TokenBucket(per_minute=60.0, clock=clock)
    bucket.take(first)
    wait_s = bucket.take(second)
    clock.at_s += wait_s + 1e-9
    if wait_s:
        assert bucket.take(second) == 0.0


def test_more_than_the_capacity_waits_for_a_full_bucket_and_leaves_a_debt() -> None:
    clock = HandClock()
    bucket = TokenBucket(per_minute=60.0, clock=clock)
    assert bucket.take(90.0) == 0.0
    assert bucket.level == -30.0
    assert bucket.take(1.0) == pytest.approx(31.0)


def test_settling_gives_back_what_was_not_used_and_no_more_than_fits() -> None:
    bucket = TokenBucket(per_minute=60.0, clock=HandClock())
    bucket.take(50.0)
    bucket.settle(20.0)
    assert bucket.level == 30.0
    bucket.settle(-40.0)
    assert bucket.level == -10.0
    bucket.settle(500.0)
    assert bucket.level == 60.0


def test_a_limit_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ConfigError):
        TokenBucket(per_minute=0.0, clock=HandClock())
