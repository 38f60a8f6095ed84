from __future__ import annotations

from random import Random

import pytest

from ngx_agents.errors import ConfigError
from ngx_agents.state.failover_ladder import Ladder, LadderRules

RULES = LadderRules()


class HandClock:
    """Time that a test moves; the wall clock jumps as it likes."""

    def __init__(self) -> None:
        self.at_s = 100.0
        self.wall_s = 1_800_000_000.0

    def monotonic_s(self) -> float:
        return self.at_s

    def now_s(self) -> float:
        return self.wall_s

    async def sleep(self, delay_s: float) -> None:
        self.at_s += delay_s


def fallen(clock: HandClock, ladder: Ladder) -> None:
    while not ladder.is_away:
        ladder.failed("gone")
        clock.at_s += 0.25


def test_a_few_failures_at_once_and_one_that_stays_alone_change_nothing() -> None:
    clock = HandClock()
    ladder = Ladder(RULES, clock=clock)
    for _ in range(50):
        ladder.failed("gone")
    assert not ladder.is_away
    for _ in range(20):
        ladder.succeeded()
        clock.at_s += 1
        ladder.failed("gone")
    assert not ladder.is_away


def test_it_falls_with_the_reason_and_returns_after_enough_successes_in_a_row() -> None:
    clock = HandClock()
    ladder = Ladder(RULES, clock=clock)
    fallen(clock, ladder)
    assert ladder.reason == "gone"
    for _ in range(10):
        ladder.succeeded()
        ladder.succeeded()
        ladder.failed("again")
    assert (ladder.is_away, ladder.reason) == (True, "again")
    for _ in range(RULES.returns_after):
        assert ladder.is_away
        ladder.succeeded()
    assert (ladder.is_away, ladder.reason, ladder.successes_needed) == (False, "", 0)


def test_one_that_keeps_falling_needs_longer_each_time_until_it_was_steady_for_a_while() -> None:
    clock = HandClock()
    ladder = Ladder(RULES, clock=clock)
    needed = []
    for _ in range(6):
        fallen(clock, ladder)
        needed.append(ladder.successes_needed)
        while ladder.is_away:
            ladder.succeeded()
    assert needed == [3, 6, 12, 24, 24, 24]
    clock.at_s += RULES.steady_s
    fallen(clock, ladder)
    assert ladder.successes_needed == 3


def test_a_wall_clock_that_jumps_changes_nothing() -> None:
    clock = HandClock()
    ladder = Ladder(RULES, clock=clock)
    ladder.failed("gone")
    clock.wall_s += 3600
    ladder.failed("gone")
    clock.wall_s -= 7200
    ladder.failed("gone")
    assert not ladder.is_away


@pytest.mark.parametrize("seed", range(300))
def test_seeded_schedules_keep_the_rules(seed: int) -> None:
    random, clock = Random(seed), HandClock()
    ladder = Ladder(RULES, clock=clock)
    share = random.choice((0.02, 0.3, 0.5, 0.9))
    failures, first_s, successes, changes = 0, 0.0, 0, 0
    for _ in range(600):
        was_away, needed = ladder.is_away, ladder.successes_needed
        clock.at_s += random.expovariate(2.0)
        if random.random() < 0.02:
            share = random.choice((0.0, 0.3, 0.95, 1.0))
        if random.random() < share:
            first_s = clock.at_s if failures == 0 else first_s
            failures, successes = failures + 1, 0
            ladder.failed("gone")
        else:
            failures, successes = 0, successes + 1
            ladder.succeeded()
        if ladder.is_away and not was_away:
            changes += 1
            assert failures >= RULES.falls_after
            assert clock.at_s - first_s >= RULES.falls_after_s
            successes = 0
        elif was_away and not ladder.is_away:
            assert needed == 1
            assert successes >= RULES.returns_after
            failures = 0
        elif not was_away:
            assert failures < RULES.falls_after or clock.at_s - first_s < RULES.falls_after_s
    assert changes <= 600 / (RULES.falls_after + RULES.returns_after)


def test_rules_that_make_no_sense_are_refused() -> None:
    for wrong in ({"falls_after": 0}, {"returns_after": 0}, {"returns_after": 30}):
        with pytest.raises(ConfigError):
            LadderRules(**wrong)
