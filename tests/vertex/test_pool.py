from __future__ import annotations

import asyncio
import itertools

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelTimeout, ModelUnavailable
from ngx_agents.vertex import pool as pool_module
from ngx_agents.vertex.pool import SPREAD_AT, Pool, Slot

CLOCK = SystemClock()


def pool_of(slots: int, calls: int, waits: list[float] | None = None) -> Pool[int]:
    numbers = itertools.count()
    return Pool(
        lambda: next(numbers),
        max_slots=slots,
        calls_per_slot=calls,
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
        assert await asyncio.wait_for(second, 1) is slot
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
