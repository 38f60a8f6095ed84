"""Limits of turns at once and of requests, kept by several instances together over a real Valkey."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.commands import Count, Hold
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import RateLimited, SharedUnavailable
from ngx_agents.gateway.limits import Limits, Taken
from ngx_agents.gateway.place_keeper import PlaceKeeper
from ngx_agents.resilience.shared_places import Places
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from tests.memory_journal import opened
from tests.valkey_process import ValkeyProcess, valkey

ANA, BEN = Owner("acme", "ana"), Owner("acme", "ben")
CLOCK = SystemClock()


@pytest.fixture(scope="module")
def redis() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    async with opened(MemoryJournal()) as made:
        yield made


async def board(journal: MemoryJournal, tenant: dict[str, Any] | None = None, **plan: Any) -> ControlBoard:
    bodies = {("plan", "default"): {"turns_per_minute": 100_000} | plan, ("tenant", "acme"): tenant or {}}
    for (kind, name), body in bodies.items():
        told = json.dumps(body).encode()
        await journal.transact([PutControl(kind=kind, id=name, body=told, now=1.0)])  # type: ignore[arg-type]  # a table
    made = ControlBoard(journal, clock=CLOCK, metrics=Metrics())
    await made.refresh()
    return made


class Instances:
    """So many `Limits`, each with a connection of its own."""

    def __init__(self, stack: AsyncExitStack, redis: ValkeyProcess, controls: ControlBoard) -> None:
        self.stack = stack
        self.url = f"redis://127.0.0.1:{redis.port}?namespace={id(self)}"
        self.controls = controls
        self.made: list[Limits] = []

    async def shared(self) -> RedisShared:
        made = RedisShared(self.url, clock=CLOCK, rng=Rng(1), metrics=Metrics(), timeout_s=2.0)
        await made.open()
        self.stack.push_async_callback(made.close)
        return made

    async def add(self) -> Limits:
        shared, name = await self.shared(), f"i{len(self.made)}"
        limits = Limits(self.controls, clock=CLOCK, metrics=Metrics(), shared=shared, member=name)
        self.made.append(await self.stack.enter_async_context(limits))
        return limits


async def take(limits: Limits, owner: Owner = ANA) -> Taken | None:
    try:
        return await limits.take(owner, 0)
    except RateLimited as error:
        if error.quota != "running":
            raise
        return None


async def test_instances_let_in_no_more_turns_at_once_than_one_would(
    redis: ValkeyProcess, journal: MemoryJournal
) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, running_turns=4))
        one, other = await house.add(), await house.add()
        let_in = await asyncio.gather(*(take((one, other)[number % 2]) for number in range(12)))
        assert sum(taken is not None for taken in let_in) == 4
        for taken in let_in:
            if taken is not None:
                taken.free()
        assert [await take(other) is not None for _ in range(5)] == [True] * 4 + [False]


async def test_turns_one_after_the_other_are_never_refused_wherever_they_go(
    redis: ValkeyProcess, journal: MemoryJournal
) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, running_turns=1))
        made = [await house.add() for _ in range(3)]
        for number in range(60):
            taken = await take(made[number % 3])
            assert taken is not None
            taken.free()


async def test_many_places_are_shared_but_for_a_sixteenth_and_are_all_given(
    redis: ValkeyProcess, journal: MemoryJournal
) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, running_turns=64))
        made = [await house.add() for _ in range(3)]
        let_in = [await take(made[number % 3]) for number in range(100)]
        assert 60 <= sum(taken is not None for taken in let_in) <= 64 + 2 * 4


async def test_a_tenant_has_its_places_on_all_instances_together(redis: ValkeyProcess, journal: MemoryJournal) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, {"running_turns": 3}))
        one, other = await house.add(), await house.add()
        let_in = [await take((one, other)[number % 2], (ANA, BEN)[number // 2 % 2]) for number in range(8)]
        assert sum(taken is not None for taken in let_in) == 3
        assert await take(one, Owner("umbrella", "eve")) is not None


async def test_a_killed_instances_places_are_free_again_and_a_living_ones_are_not(
    redis: ValkeyProcess, journal: MemoryJournal
) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal))
        made = [await house.shared(), await house.shared()]
        killed = PlaceKeeper(made[0], member="killed", clock=CLOCK, lease_s=0.4)
        lives = PlaceKeeper(made[1], member="lives", clock=CLOCK, lease_s=30.0)
        mine, its = Places(), Places()
        mine.key = its.key = "places:user:killed"
        await killed.ask(its, 2)
        its.used = 1
        await lives.ask(mine, 2)
        mine.used = 1
        assert (its.held, mine.held) == (1, 1)
        await lives.ask(mine, 2)
        assert mine.held == 1
        async with asyncio.timeout(5):
            while mine.held < 2:
                await asyncio.sleep(0.02)
                await lives.ask(mine, 2)
        assert mine.others == 0


async def test_leaving_gives_everything_back_at_once(redis: ValkeyProcess, journal: MemoryJournal) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, running_turns=2))
        stays = await house.add()
        leaving = Limits(
            house.controls, clock=CLOCK, metrics=Metrics(), shared=await house.shared(), member="leaving"
        )  # fmt: skip
        async with leaving:
            assert [await take(leaving) is not None for _ in range(2)] == [True, True]
            assert await take(stays) is None
        assert await take(stays) is not None


async def test_requests_of_any_kind_are_counted_together(redis: ValkeyProcess, journal: MemoryJournal) -> None:
    async with AsyncExitStack() as stack:
        house = Instances(stack, redis, await board(journal, requests_per_minute=64))
        made = [await house.add() for _ in range(2)]
        passed = 0
        for number in range(200):
            try:
                await made[number % 2].request(ANA)
            except RateLimited as error:
                if error.quota != "requests":
                    raise
                continue
            passed += 1
        assert 56 <= passed <= 64 + 4


class Watched(LocalShared):
    """Counts what is asked, and how much of it at the same time; `is_away` answers nothing."""

    def __init__(self) -> None:
        super().__init__(CLOCK)
        self.asked: list[Any] = []
        self.waiting = self.most_waiting = 0
        self.is_away = False

    async def ask(self, command: Any) -> Any:
        self.asked.append(command)
        self.waiting += 1
        self.most_waiting = max(self.most_waiting, self.waiting)
        await asyncio.sleep(0)
        self.waiting -= 1
        if self.is_away:
            raise SharedUnavailable("away")
        return await super().ask(command)


async def limits_on(shared: Shared, controls: ControlBoard) -> Limits:
    return Limits(controls, clock=CLOCK, metrics=Metrics(), shared=shared)


async def test_who_has_few_turns_at_once_asks_nobody(journal: MemoryJournal) -> None:
    shared = Watched()
    async with await limits_on(shared, await board(journal, turns_per_minute=1_000)) as limits:
        for _ in range(50):
            taken = [await limits.take(ANA, 0) for _ in range(3)]
            for one in taken:
                one.free()
    assert [one for one in shared.asked if isinstance(one, Hold)] == []


async def test_what_is_short_is_asked_for_in_one_round_trip(journal: MemoryJournal) -> None:
    shared = Watched()
    async with await limits_on(shared, await board(journal, turns_per_minute=8, running_turns=8)) as limits:
        await limits.take(ANA, 0)
        assert [type(one) for one in shared.asked] == [Count, Hold]
        assert shared.most_waiting == 2


async def test_while_what_is_shared_is_away_each_keeps_the_limits_by_itself(journal: MemoryJournal) -> None:
    shared = Watched()
    shared.is_away = True
    controls = await board(journal, running_turns=3, requests_per_minute=5)
    async with await limits_on(shared, controls) as limits:
        taken = [await take(limits) for _ in range(5)]
        assert [one is not None for one in taken] == [True] * 3 + [False] * 2
        for _ in range(5):
            await limits.request(BEN)
        with pytest.raises(RateLimited):
            await limits.request(BEN)
        shared.is_away = False
        other = Limits(controls, clock=CLOCK, metrics=Metrics(), shared=shared, member="other")
        async with asyncio.timeout(10), other:
            while (found := await take(other)) is not None:  # until the first has said what it uses
                found.free()
                await asyncio.sleep(0.1)


async def test_processes_that_share_nothing_divide_turns_at_once_and_requests(journal: MemoryJournal) -> None:
    controls = await board(journal, {"running_turns": 100}, running_turns=8, requests_per_minute=10)
    limits = Limits(controls, clock=CLOCK, metrics=Metrics(), sharers=4)
    assert [await take(limits) is not None for _ in range(3)] == [True, True, False]
    for _ in range(3):
        await limits.request(ANA)
    with pytest.raises(RateLimited):
        await limits.request(ANA)
