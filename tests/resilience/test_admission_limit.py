from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.errors import ConfigError
from ngx_agents.resilience.admission_limit import AdmissionLimit, LimitRules

RULES = LimitRules(capacity=100.0, token_target_s=0.02, first_token_target_s=1.0)


@pytest.mark.parametrize(
    "broken",
    [
        {"capacity": 0.5},
        {"capacity": 10.0, "most": 9.0},
        {"capacity": 10.0, "keep": 1.0},
        {"capacity": 10.0, "token_target_s": 0.0},
        {"capacity": 10.0, "lag_limit_s": -1.0},
    ],
)
def test_rules_that_cannot_work_are_refused(broken: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        LimitRules(**broken)


@pytest.mark.parametrize(
    ("tell", "slow", "fine", "count"),
    [
        (lambda limit: limit.token_took, 0.0251, 0.0249, 10),
        (lambda limit: limit.first_token_took, 1.01, 0.99, 10),
        (lambda limit: limit.loop_lagged, 0.051, 0.049, 100),
        (lambda limit: limit.permit_took, 0.26, 0.24, 50),
    ],
)
def test_each_signal_cuts_the_bound_beyond_its_target_and_only_then(
    tell: Callable[[AdmissionLimit], Callable[[float], None]], slow: float, fine: float, count: int
) -> None:
    for value, cut in ((slow, True), (fine, False)):
        limit = AdmissionLimit(RULES)
        for _ in range(count):
            tell(limit)(value)
        limit.step(in_flight=0.0)
        assert (limit.value == 90.0) is cut
        assert bool(limit.reason) is cut


def test_too_few_samples_say_nothing_and_old_ones_are_thrown_away() -> None:
    limit = AdmissionLimit(RULES)
    for _ in range(9):
        limit.token_took(1.0)
    for _ in range(10):
        limit.step(in_flight=0.0)
    limit.token_took(1.0)
    limit.step(in_flight=0.0)
    assert limit.value == 100.0


def test_one_judgement_uses_its_samples_up() -> None:
    limit = AdmissionLimit(RULES)
    for _ in range(10):
        limit.token_took(1.0)
    limit.step(in_flight=0.0)
    limit.step(in_flight=0.0)
    assert limit.value == 90.0


def test_it_rises_only_where_at_least_half_of_it_is_used() -> None:
    limit = AdmissionLimit(RULES)
    limit.step(in_flight=49.0)
    assert limit.value == 100.0
    limit.step(in_flight=50.0)
    assert limit.value == 104.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 300.0)), max_size=200), st.floats(1.0, 1000.0))
def test_it_stays_between_half_and_twice_the_capacity(steps: list[tuple[bool, float]], capacity: float) -> None:
    limit = AdmissionLimit(LimitRules(capacity=capacity))
    for is_slow, in_flight in steps:
        for _ in range(10):
            limit.token_took(1.0 if is_slow else 0.001)
        before = limit.value
        limit.step(in_flight)
        assert max(1.0, capacity / 2) <= limit.value <= 2 * capacity
        assert limit.value <= before or not is_slow
