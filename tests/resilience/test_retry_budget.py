"""Retries stay a small share of calls whatever happens, and a quiet server still retries."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.errors import ConfigError
from ngx_agents.resilience.retry_budget import RetryBudget, RetryRules

STEPS = st.lists(
    st.tuples(st.sampled_from(["called", "succeeded", "transient", "throttled"]), st.floats(0.0, 1.5)), max_size=300
)


@given(steps=STEPS)
def test_no_window_holds_more_retries_than_a_tenth_of_its_calls_and_the_minimum(
    steps: list[tuple[str, float]],
) -> None:
    clock = HandClock()
    budget = RetryBudget(RetryRules(), clock=clock)
    calls: list[int] = []
    retries: list[int] = []
    for step, pause_s in steps:
        clock.at_s += pause_s
        oldest = int(clock.at_s) - 9
        if step == "called":
            budget.called()
            calls.append(int(clock.at_s))
        elif step == "succeeded":
            budget.succeeded()
        elif budget.try_retry(throttled=step == "throttled"):
            retries.append(int(clock.at_s))
            held = sum(1 for when in calls if when >= oldest)
            assert sum(1 for when in retries if when >= oldest) <= max(3, 0.1 * held)
        assert 0.0 <= budget.left <= 100.0


@given(seed_calls=st.integers(0, 2000), wanted=st.integers(0, 500))
def test_retries_are_at_most_a_tenth_of_calls_and_three(seed_calls: int, wanted: int) -> None:
    budget = RetryBudget(RetryRules(), clock=HandClock())
    for _ in range(seed_calls):
        budget.called()
        budget.succeeded()
    granted = 0
    for _ in range(wanted):
        granted += budget.try_retry(throttled=True)
        budget.succeeded()
    assert granted <= 0.1 * seed_calls + 3


def test_a_quiet_server_may_retry_three_times_in_a_window() -> None:
    clock = HandClock()
    budget = RetryBudget(RetryRules(), clock=clock)
    budget.called()
    assert [budget.try_retry() for _ in range(4)] == [True, True, True, False]
    clock.at_s += 10.0
    assert budget.try_retry()


def test_when_nothing_succeeds_the_bucket_runs_dry_and_the_minimum_remains() -> None:
    clock = HandClock()
    budget = RetryBudget(RetryRules(), clock=clock)
    for _ in range(1000):
        budget.called()
    assert sum(budget.try_retry() for _ in range(100)) == 10
    clock.at_s += 10.0
    for _ in range(1000):
        budget.called()
    assert sum(budget.try_retry() for _ in range(100)) == 3


def test_throttled_retries_cost_half_and_successes_pay_for_them() -> None:
    budget = RetryBudget(RetryRules(), clock=HandClock())
    for _ in range(1000):
        budget.called()
    assert sum(budget.try_retry(throttled=True) for _ in range(100)) == 20
    for _ in range(5):
        budget.succeeded()
    assert [budget.try_retry(throttled=True) for _ in range(2)] == [True, False]


@pytest.mark.parametrize("rules", [{"share": -0.1}, {"window_s": 0.0}, {"minimum": -1}])
def test_rules_that_cannot_work_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        RetryRules(**rules)
