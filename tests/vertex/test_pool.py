from __future__ import annotations

import asyncio
import itertools

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelTimeout, ModelUnavailable
from ngx_agents.vertex import pool as pool_module
from ngx_agents.vertex.pool import SPREAD_AT, Pool, PoolBounds, Slot

CLOCK = SystemClock()


class Closed:
    """Pools of numbered connections, and which of them were closed."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def pool(self, slots: int, calls: int, **bounds: float) -> Pool[int]:
        opened = itertools.count()
        return Pool(
            lambda: next(opened),
            self.numbers.append,
            bounds=PoolBounds(max_slots=slots, calls_per_slot=calls, **bounds),
            clock=CLOCK,
            on_wait=lambda _: None,
        )


def pool_of(slots: int, calls: int, waits: list[float] | None = None) -> Pool[int]:
    numbers = itertools.count()
    return Pool(
        lambda: next(numbers),
        lambda _: None,
        bounds=PoolBounds(max_slots=slots, calls_per_slot=calls),
        clock=CLOCK,
        on_wait=[].append if waits is None else waits.append,
    )


def taken(pool: Pool[int]) -> Slot[int]:
    slot = pool.take()
    assert slot is not None
    return slot


def in_s(delay_s: float) -> float:
    return CLOCK.monotonic_s() + delay_s


def test_another_connection_is_opened_only_when_the_open_ones_carry_enough() -> None:
    pool = pool_of(3, 100)
    for _ in range(SPREAD_AT):
        taken(pool)
    assert len(pool.slots) == 1
    taken(pool)
    assert [slot.load for slot in pool.slots] == [SPREAD_AT, 1]


def test_least_loaded_connection_comes_first() -> None:
    pool = pool_of(2, 100)
    held = [taken(pool) for _ in range(2 * SPREAD_AT)]
    first = [slot for slot in held if slot.carrier == 0]
    for slot in first[:5]:
        pool.give_back(slot)
    assert {taken(pool).carrier for _ in range(5)} == {0}


def test_no_connection_carries_more_than_its_limit() -> None:
    pool = pool_of(3, 20)
    for _ in range(60):
        taken(pool)
    assert pool.take() is None
    assert [slot.load for slot in pool.slots] == [20, 20, 20]
    assert pool.in_flight == 60


async def test_waiters_are_served_in_their_order_and_the_wait_is_told() -> None:
    waits: list[float] = []
    pool = pool_of(1, 1, waits)
    slot = taken(pool)
    served: list[int] = []

    async def wait(number: int) -> None:
        got = await pool.wait(in_s(5))
        served.append(number)
        pool.give_back(got)

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(wait(number))
            await asyncio.sleep(0)
        assert pool.take() is None
        pool.give_back(slot)
        assert pool.take() is None  # whoever waits comes before whoever comes
    assert served == [0, 1, 2, 3]
    assert len(waits) == 4
    assert pool.in_flight == 0


async def test_waiter_cancelled_while_it_is_served_hands_on_its_place() -> None:
    pool = pool_of(1, 1)
    slot = taken(pool)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(pool.wait(in_s(5)))
        second = group.create_task(pool.wait(in_s(5)))
        await asyncio.sleep(0)
        pool.give_back(slot)
        first.cancel()
        assert await asyncio.wait_for(second, 10) is slot
    assert pool.in_flight == 1


async def test_wait_ends_at_the_deadline_and_leaves_the_queue() -> None:
    pool = pool_of(1, 1)
    slot = taken(pool)
    with pytest.raises(ModelTimeout):
        await pool.wait(in_s(0.01))
    pool.give_back(slot)
    assert pool.in_flight == 0
    assert pool.take() is slot


async def test_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "MAX_WAITING", 1)
    pool = pool_of(1, 1)
    slot = taken(pool)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pool.wait(in_s(5)))
        await asyncio.sleep(0)
        with pytest.raises(ModelUnavailable):
            await pool.wait(in_s(5))
        pool.give_back(slot)
        assert await waiting is slot


def test_connection_that_failed_in_a_row_takes_no_more_calls_and_ends_with_its_last() -> None:
    closed = Closed()
    pool = closed.pool(1, 10, max_failures=3)
    first, beside = taken(pool), taken(pool)
    for _ in range(3):
        pool.failed(first)
    assert taken(pool).carrier == 1  # although its neighbour still uses the first
    pool.give_back(first)
    assert closed.numbers == []
    pool.give_back(beside)
    assert closed.numbers == [0]


def test_answer_in_between_forgives_failures() -> None:
    pool = Closed().pool(1, 10, max_failures=2)
    slot = taken(pool)
    pool.failed(slot)
    slot.failures = 0  # as an answer does
    pool.failed(slot)
    assert taken(pool) is slot
    assert not pool.is_failed


def test_given_up_connections_that_drain_are_bounded() -> None:
    pool = Closed().pool(2, 1, max_failures=1)
    for _ in range(4):
        pool.failed(taken(pool))
    assert pool.take() is None
    assert pool.in_flight == 4


async def test_call_that_waits_gets_the_place_of_a_given_up_connection_at_once() -> None:
    pool = Closed().pool(1, 1, max_failures=1)
    slot = taken(pool)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(pool.wait(in_s(5)))
        await asyncio.sleep(0)
        pool.failed(slot)
        assert (await waiting).carrier == 1


def test_pool_without_connections_after_failures_says_so_until_it_is_adapted() -> None:
    pool = Closed().pool(2, 10, max_failures=1)
    slot = taken(pool)
    pool.failed(slot)
    assert pool.is_failed
    pool.adapt(lambda: 77, PoolBounds(max_slots=1, calls_per_slot=1))
    assert not pool.is_failed
    assert taken(pool).carrier == 77
    assert pool.take() is None


async def test_idle_connections_are_closed_and_used_ones_stay() -> None:
    closed = Closed()
    pool = closed.pool(2, 1, idle_s=0.02)
    kept, idle = taken(pool), taken(pool)
    pool.give_back(idle)
    await asyncio.sleep(0.05)
    assert closed.numbers == [1]
    pool.give_back(kept)
    assert taken(pool) is kept
    await asyncio.sleep(0.05)
    assert closed.numbers == [1]
    pool.clear()
    assert closed.numbers == [1, 0]


async def test_cleared_pool_sends_the_waiting_away() -> None:
    pool = pool_of(1, 1)
    taken(pool)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_refused(pool))
        await asyncio.sleep(0)
        pool.clear()
        await waiting


async def _refused(pool: Pool[int]) -> None:
    with pytest.raises(ModelUnavailable):
        await pool.wait(in_s(5))
