from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.coordination import commands as c
from ngx_agents.coordination.bounds import MAX_UNHEARD
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.telemetry.metrics import Metrics
from tests.coordination.shared_conformance import *  # noqa: F403
from tests.coordination.shared_conformance import MAX_VALUE_BYTES, Pair
from tests.resilience.hand_clock import HandClock


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    shared = LocalShared(SystemClock(), max_value_bytes=MAX_VALUE_BYTES)
    await shared.open()
    yield shared, shared
    await shared.close()


async def test_the_least_recently_used_goes_when_there_are_too_many() -> None:
    shared = LocalShared(HandClock(), max_entries=3)
    for key in "abc":
        await shared.ask(c.Put(key, b"x", 60))
    await shared.ask(c.Get("a"))
    await shared.ask(c.Put("d", b"x", 60, "group"))
    assert await shared.ask(c.GetMany(("a", "b", "c", "d"))) == [b"x", None, b"x", b"x"]


async def test_bytes_are_bounded_and_groups_forget_what_went() -> None:
    shared = LocalShared(HandClock(), max_bytes=100_000)
    for index in range(1000):
        await shared.ask(c.Put(f"k{index}", b"x" * 1000, 60, "group"))
    assert await shared.ask(c.DropGroup("group")) == 83


async def test_expired_entries_make_room_when_they_are_met() -> None:
    clock = HandClock()
    shared = LocalShared(clock)
    await shared.ask(c.Put("k", b"x", 10, "group"))
    clock.at_s += 10
    assert await shared.ask(c.Get("k")) is None
    assert await shared.ask(c.DropGroup("group")) == 0


async def test_a_listener_that_does_not_listen_loses_the_oldest_and_it_is_counted() -> None:
    metrics = Metrics()
    shared = LocalShared(HandClock(), metrics=metrics)
    hints = shared.listen("channel")
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anext(hints))  # type: ignore[arg-type]  # typeshed wants a coroutine
        await asyncio.sleep(0)
        for index in range(MAX_UNHEARD + 5):
            await shared.publish("channel", b"%d" % index)
    assert first.result() == b"5"
    assert b"ngx_shared_hints_lost_total 5.0" in metrics.render()
    await hints.aclose()  # type: ignore[attr-defined]
