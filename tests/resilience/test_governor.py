"""The governor learns a pool's capacity from refusals that say nothing, wastes little, and is no burden at low load."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock
from tests.resilience.pool_simulation import Caller, Pool, World, within

from ngx_agents.errors import ConfigError
from ngx_agents.resilience.governor import Governor, GovernorRules

STEPS = [(0.0, 100.0), (60.0, 40.0), (120.0, 100.0)]
SETTLED = [(10.0, 60.0, 100.0), (70.0, 120.0, 40.0), (130.0, 180.0, 100.0)]  # from, to, capacity


def simulated(pool: Pool, *, offered: float, callers: int = 1, seed: int = 1, **world: float) -> list[Caller]:
    made = World(pool, seed=seed, **world)
    all_of_them = [Caller(made, GovernorRules(), lambda _now_s: offered / callers) for _ in range(callers)]
    made.run(all_of_them, 180.0)
    return all_of_them


def goodput(pool: Pool, from_s: float, to_s: float) -> float:
    return within(pool.admitted, from_s, to_s) / (to_s - from_s)


@pytest.mark.parametrize("offered", [90.0, 200.0])
@pytest.mark.parametrize("burst_s", [0.01, 0.2, 1.0])
def test_ten_seconds_after_each_step_nine_tenths_of_capacity_or_of_the_load_are_used(
    offered: float, burst_s: float
) -> None:
    pool = Pool(STEPS, burst_s=burst_s)
    (caller,) = simulated(pool, offered=offered)
    for from_s, to_s, capacity in SETTLED:
        assert goodput(pool, from_s, to_s) >= 0.9 * min(offered, capacity)
    assert len(pool.attempts) <= 1.15 * caller.sent
    assert len(pool.attempts) <= 1.15 * len(pool.admitted)


@pytest.mark.parametrize("seed", range(2, 4))
@pytest.mark.parametrize("median_work_s", [0.05, 5.0])
def test_how_long_calls_take_and_how_they_arrive_does_not_matter(median_work_s: float, seed: int) -> None:
    pool = Pool(STEPS)
    (caller,) = simulated(pool, offered=150.0, seed=seed, median_work_s=median_work_s, sigma=1.0)
    for from_s, to_s, capacity in SETTLED:
        assert goodput(pool, from_s, to_s) >= 0.9 * capacity
    for from_s in (20.0, 72.0, 140.0):  # no single second far below either
        assert goodput(pool, from_s, from_s + 5.0) >= 0.85 * (40.0 if from_s == 72.0 else 100.0)
    assert len(pool.attempts) <= 1.15 * caller.sent


def test_a_slow_round_trip_and_fixed_windows_are_borne() -> None:
    for pool, trip_s in ((Pool(STEPS), 0.5), (Pool(STEPS, fixed_window_s=1.0), 0.05)):
        simulated(pool, offered=150.0, trip_s=trip_s)
        for from_s, to_s, capacity in SETTLED:
            assert goodput(pool, from_s, to_s) >= 0.9 * capacity
        assert len(pool.attempts) <= 1.15 * len(pool.admitted)


@pytest.mark.parametrize("callers", [2, 4, 8])
def test_callers_who_share_a_pool_fill_it_and_none_is_starved(callers: int) -> None:
    pool = Pool(STEPS)
    sharing = simulated(pool, offered=150.0, callers=callers)
    for from_s, to_s, capacity in SETTLED:
        assert goodput(pool, from_s, to_s) >= 0.9 * capacity
    shares = [len(caller.admitted) for caller in sharing]
    assert min(shares) >= 0.5 * sum(shares) / callers
    assert len(pool.attempts) <= 1.15 * len(pool.admitted)


def test_without_learning_the_same_load_wastes_most_of_its_attempts() -> None:
    pool = Pool(STEPS)
    world = World(pool, seed=1)
    caller = Caller(world, GovernorRules(keep=0.999999, ramp_floor_per_s=1e6, forget_s=0.001), lambda _now_s: 150.0)
    world.run([caller], 180.0)
    assert len(pool.attempts) > 1.5 * len(pool.admitted)


@pytest.mark.parametrize("offered", [0.5, 10.0, 60.0])
def test_at_low_load_nothing_is_ever_delayed(offered: float) -> None:
    (caller,) = simulated(Pool([(0.0, 100.0)], burst_s=1.0), offered=offered)
    assert len(caller.delays_s) > 0.5 * 180.0 * offered
    assert max(caller.delays_s) == 0.0


def test_a_pool_that_is_closed_is_asked_little_and_found_again_when_it_opens() -> None:
    pool = Pool([(0.0, 100.0), (20.0, 0.0), (80.0, 100.0)])
    (caller,) = simulated(pool, offered=150.0)
    assert within(pool.attempts, 30.0, 80.0) <= 50 * 5
    assert goodput(pool, 110.0, 180.0) >= 90.0
    assert len(caller.queue) <= 200


def test_a_pool_that_counts_calls_at_once_is_used_by_three_quarters() -> None:
    pool = Pool([(0.0, 1e9)], seats=20)
    simulated(pool, offered=150.0, median_work_s=2.0)
    assert goodput(pool, 20.0, 180.0) >= 0.75 * 20 / 2.27  # mean of the lognormal work
    assert within(pool.attempts, 20.0, 180.0) <= 1.15 * within(pool.admitted, 20.0, 180.0)


def started(governor: Governor, clock: HandClock, count: int, *, every_s: float = 0.01) -> list[float]:
    times = []
    for _ in range(count):
        clock.at_s += every_s
        assert governor.wait_s() == 0.0
        times.append(governor.start())
    return times


def made(**rules: float) -> tuple[Governor, HandClock]:
    clock = HandClock()
    return Governor(GovernorRules(**rules), clock=clock), clock


def test_refusals_of_one_round_trip_cut_the_pace_once() -> None:
    governor, clock = made()
    times = started(governor, clock, 200)
    clock.at_s += 0.4
    for started_s in times[-20:]:
        governor.throttled(started_s)
    once = governor.pace_per_s
    assert 25.0 < once < 70.0
    clock.at_s += 0.35
    before = governor.wait_s(), governor.pace_per_s
    governor.throttled(times[0])
    assert governor.pace_per_s >= before[1]


def test_nothing_starts_before_a_retry_after_has_passed_and_none_holds_for_ever() -> None:
    governor, clock = made()
    (started_s,) = started(governor, clock, 1)
    governor.throttled(started_s, retry_after_s=7.0)
    assert governor.wait_s() == pytest.approx(7.0)
    clock.at_s += 6.9
    assert governor.wait_s() > 0.0
    clock.at_s += 0.2
    assert governor.wait_s() == 0.0
    governor.throttled(governor.start(), retry_after_s=inf)
    assert governor.wait_s() == pytest.approx(120.0)


def test_a_quota_holds_until_the_minute_moves_and_is_then_spread_over_it() -> None:
    governor, clock = made()
    clock.at_s += 60.0 - clock.now_s() % 60.0
    times = started(governor, clock, 300, every_s=0.05)  # 15 s into the minute
    governor.throttled(times[-1], kind="quota")
    assert governor.wait_s() == pytest.approx(45.0)
    clock.at_s += 45.1
    count, end_s = 0, clock.at_s + 59.0
    while clock.at_s < end_s:
        wait_s = governor.wait_s()
        if wait_s > 0.0:
            clock.at_s += wait_s + 1e-6
            continue
        governor.start()
        count += 1
    assert 240 <= count <= 330


def test_bought_capacity_that_is_used_up_overflows_until_it_is_forgotten() -> None:
    governor, clock = made()
    (started_s,) = started(governor, clock, 1)
    assert not governor.overflows
    governor.throttled(started_s, kind="provisioned")
    assert governor.overflows
    clock.at_s += 61.0
    governor.wait_s()
    assert not governor.overflows


def test_after_a_minute_without_refusals_nothing_is_bounded_but_by_the_ramp() -> None:
    governor, clock = made()
    (started_s,) = started(governor, clock, 1)
    governor.throttled(started_s)
    assert governor.pace_per_s < 10.0
    clock.at_s += 60.5
    assert governor.wait_s() == 0.0
    assert governor.pace_per_s == inf


def test_a_steep_ramp_is_flattened() -> None:
    governor, clock = made()
    per_second = []
    for _ in range(6):
        count, end_s = 0, clock.at_s + 1.0
        while clock.at_s < end_s:
            clock.at_s += 0.0005
            if governor.wait_s() == 0.0:
                governor.start()
                governor.ended()
                count += 1
        per_second.append(count)
    assert per_second[0] <= 230
    assert all(later <= 2.2 * sooner for sooner, later in pairwise(per_second))
    assert per_second[-1] >= 600


def test_calls_in_flight_are_bounded_and_an_ended_one_makes_room() -> None:
    governor, clock = made(max_in_flight=3)
    started(governor, clock, 3)
    assert governor.wait_s() == inf
    governor.ended()
    assert governor.wait_s() == 0.0


def test_the_estimate_grows_with_those_ahead() -> None:
    governor, clock = made()
    times = started(governor, clock, 100)
    governor.throttled(times[-1])
    assert governor.estimate_s(0) > 0.0
    assert governor.estimate_s(50) == pytest.approx(governor.estimate_s(0) + 50 / governor.pace_per_s)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["start", "ended", "shared", "quota", "provisioned"]), st.floats(0.0, 30.0)),
        max_size=150,
    )
)
def test_whatever_happens_pace_and_wait_stay_within_bounds(steps: list[tuple[str, float]]) -> None:
    governor, clock = made(max_in_flight=20)
    out: list[float] = []
    for step, pause_s in steps:
        clock.at_s += pause_s
        wait_s = governor.wait_s()
        assert wait_s >= 0.0
        assert wait_s < 130.0 or len(out) == 20
        if step == "start" and wait_s == 0.0:
            out.append(governor.start())
        elif step == "ended" and out:
            out.pop()
            governor.ended()
        elif step not in ("start", "ended") and out:
            governor.throttled(out.pop(), kind=step, retry_after_s=pause_s * 10)
        assert governor.in_flight == len(out)
        assert governor.pace_per_s >= 0.2


@pytest.mark.parametrize(
    "rules", [{"keep": 1.0}, {"max_in_flight": 0}, {"min_pace_per_s": 0.0}, {"regain_s": 0.0}, {"cut_every_s": -1.0}]
)
def test_rules_that_cannot_work_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        GovernorRules(**rules)
