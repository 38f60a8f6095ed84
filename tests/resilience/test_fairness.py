from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience import fairness as f
from ngx_agents.resilience.fairness import Fairness, VirtualCounters, cost_of


def test_who_comes_back_from_idle_has_saved_nothing_up() -> None:
    counters = VirtualCounters()
    counters.charge("busy", 1_000.0)
    counters.served("busy")
    counters.back_from_idle("idle")
    assert counters.of("idle") == 1_000.0
    assert counters.of("never seen") == 1_000.0


@given(st.lists(st.tuples(st.integers(0, 3), st.floats(1.0, 100.0)), min_size=40, max_size=200))
def test_between_tenants_that_always_wait_nobody_gets_ahead_by_more_than_one_turn(
    turns: list[tuple[int, float]],
) -> None:
    counters = VirtualCounters()
    given_to = dict.fromkeys("abcd", 0.0)
    for _, cost in turns:
        least = min(given_to, key=counters.of)
        counters.served(least)
        counters.charge(least, cost)
        given_to[least] += cost
    assert max(given_to.values()) - min(given_to.values()) <= 100.0


def test_counters_are_bounded() -> None:
    counters = VirtualCounters()
    for number in range(f.MAX_KEYS + 10):
        counters.charge(f"k{number}", 1.0)
    assert len(counters._counters) == f.MAX_KEYS


def test_noisy_is_who_holds_much_of_what_is_in_flight() -> None:
    fairness = Fairness(clock=HandClock())
    for _ in range(29):
        fairness.entered("loud", 1.0)
    assert not fairness.is_noisy("loud")
    fairness.entered("loud", 1.0)
    assert fairness.is_noisy("loud")
    fairness.entered("quiet", 1.0)
    assert not fairness.is_noisy("quiet")
    for number in range(300):
        fairness.entered(f"t{number}", 1.0)
    assert not fairness.is_noisy("loud")


def test_noisy_is_who_took_much_of_the_time_lately_and_that_is_forgotten() -> None:
    clock = HandClock()
    fairness = Fairness(clock=clock)
    for tenant, seconds in (("loud", 50.0), ("quiet", 2.0)):
        fairness.entered(tenant, 1.0)
        fairness.left(tenant, 1.0, seconds=seconds)
    assert (fairness.is_noisy("loud"), fairness.is_noisy("quiet")) == (True, False)
    clock.advance(300.0)
    fairness.entered("quiet", 1.0)
    fairness.left("quiet", 1.0, seconds=1.0)
    assert not fairness.is_noisy("loud")


def test_output_costs_twice_what_input_does() -> None:
    assert cost_of(10.0, 10.0) == 30.0
