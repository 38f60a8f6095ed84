from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.a2a.pool import EJECT_AFTER, EJECT_S, Instance, Pool
from ngx_agents.clock import Rng


async def answer(message):
    return message.payload


def pool_of(count, **options):
    return Pool([Instance(f"i{number}", answer, **options) for number in range(count)], rng=Rng(7))


def fail(pool, instance, times=EJECT_AFTER, now_s=0.0):
    told = []
    for _ in range(times):
        instance.in_flight += 1
        told.append(pool.ended(instance, 0.01, now_s, failed=True))
    return told


def test_the_nearer_are_asked_while_they_have_room():
    near = [Instance(f"near{number}", answer, capacity=2) for number in range(2)]
    far = Instance("far", answer, distance=1, capacity=2)
    pool = Pool([far, *near], rng=Rng(1))
    chosen = [pool.choose(0.0).name for _ in range(6)]
    assert sorted(chosen[:4]) == ["near0", "near0", "near1", "near1"]
    assert chosen[4:] == ["far", "far"]


def test_of_two_the_less_loaded_is_chosen():
    pool = pool_of(2)
    slow, fast = pool.instances
    slow.latency_s, fast.latency_s = 1.0, 0.1
    assert [pool.choose(0.0) for _ in range(9)] == [fast] * 9


def test_load_spreads_evenly_over_equals():
    pool = pool_of(10, capacity=1000)
    for _ in range(1000):
        pool.choose(0.0)
    counts = [one.in_flight for one in pool.instances]
    assert max(counts) - min(counts) <= 10


def test_an_instance_that_fails_in_a_row_is_left_out_and_comes_back():
    pool = pool_of(4)
    bad = pool.instances[0]
    assert fail(pool, bad) == [False] * (EJECT_AFTER - 1) + [True]
    assert bad not in [pool.choose(EJECT_S - 1) for _ in range(50)]
    assert bad in [pool.choose(EJECT_S + 1) for _ in range(50)]
    fail(pool, bad, now_s=EJECT_S + 1)
    assert bad.ejected_until_s == EJECT_S + 1 + 2 * EJECT_S


def test_failures_with_successes_between_eject_nobody():
    pool = pool_of(4)
    one = pool.instances[0]
    for _ in range(20):
        assert not any(fail(pool, one, EJECT_AFTER - 1))
        one.in_flight += 1
        pool.ended(one, 0.01, 0.0)
    assert pool.ejected(0.0) == 0


@given(st.integers(1, 20), st.lists(st.integers(0, 19), max_size=60))
def test_never_more_than_three_tenths_are_left_out(count, failing):
    pool = pool_of(count)
    for number in failing:
        fail(pool, pool.instances[number % count])
        assert pool.ejected(0.0) <= 0.3 * count
        assert pool.choose(0.0).ejected_until_s <= 0.0
