"""Two managers on one journal and one Redis: what each may serve, whatever becomes of hints and of Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from tests.coordination.members import member
from tests.state.watched_journal import WatchedJournal, WatchedShared
from tests.valkey_process import ValkeyProcess, valkey

from ngx_agents import Owner, StateManager
from ngx_agents.clock import SystemClock
from ngx_agents.coordination.commands import Drop, GetVersioned, PutNewer, Versioned
from ngx_agents.errors import StateConflict
from ngx_agents.state.ids import Ids
from ngx_agents.telemetry.metrics import Metrics

ANA, BEN = Owner("acme", "ana"), Owner("acme", "ben")
ids = Ids(SystemClock())


class House:
    """Two instances: their managers, shared rooms and counts."""

    def __init__(self, journal: WatchedJournal) -> None:
        self.journal = journal
        self.managers: list[StateManager] = []
        self.shared: list[WatchedShared] = []
        self.metrics: list[Metrics] = []
        self.lane = ids.new("c", 1)

    @property
    def key(self) -> str:
        return f"state:{{{self.lane}}}"

    def failures(self, instance: int, reason: str) -> float:
        counter = self.metrics[instance].counter("ngx_state_shared_failures_total", "", "reason")
        return counter.labels(reason).value

    def loads(self, instance: int, tier: str) -> float:
        return self.metrics[instance].counter("ngx_state_loads_total", "", "tier").labels(tier).value

    async def shared_copy(self) -> Versioned | None:
        return await self.shared[0]._shared.ask(GetVersioned(self.key))

    async def until_shared(self, version: int) -> Versioned:
        found: list[Versioned] = []

        async def is_there() -> bool:
            copy = await self.shared_copy()
            if copy is not None and copy.version >> 21 >= version:
                found.append(copy)
            return bool(found)

        await until(is_there)
        return found[-1]


async def until(is_true: Callable[[], Any]) -> None:
    async with asyncio.timeout(5):
        while True:
            answer = is_true()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.002)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@asynccontextmanager
async def house_on(server: ValkeyProcess, *, timeout_s: float = 2.0) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        journal = WatchedJournal()
        await journal.open()
        stack.push_async_callback(journal.close)
        await journal.migrate()
        house = House(journal)
        for _ in range(2):
            shared = member(f"redis://127.0.0.1:{server.port}", timeout_s=timeout_s)
            await shared.open()
            stack.push_async_callback(shared.close)
            house.shared.append(WatchedShared(shared))
            house.metrics.append(Metrics())
            manager = StateManager(journal=journal, shared=house.shared[-1], metrics=house.metrics[-1])
            house.managers.append(await stack.enter_async_context(manager))
        await listening(house)
        yield house


async def listening(house: House) -> None:
    """Until hints of each reach the other: a copy in memory goes when the other writes."""
    for writer, other in ((0, 1), (1, 0)):
        lane = ids.new("c", 1)

        async def is_heard(writer: int = writer, other: int = other, lane: str = lane) -> bool:
            await house.managers[other].load(ANA, lane)
            await house.managers[writer].save(ANA, lane, {})
            await asyncio.sleep(0.005)
            tiers = house.managers[other]._tiers
            assert tiers is not None
            return lane not in tiers.memory._entries

        await house.managers[writer].save(ANA, lane, {})
        await until(is_heard)
    house.journal.asked.clear()


@pytest.fixture
async def house(server: ValkeyProcess) -> AsyncIterator[House]:
    async with house_on(server) as house:
        yield house


async def test_who_knows_the_version_gets_it_from_redis_without_asking_the_journal(house: House) -> None:
    one, other = house.managers
    version = await one.save(ANA, house.lane, {"n": 1})
    await house.until_shared(version)
    found = await other.load(ANA, house.lane, at_least=version)
    assert (found.state, found.version) == ({"n": 1}, version)
    again = await other.load(ANA, house.lane, at_least=version)
    assert again == found
    assert house.journal.asked == []
    assert (house.loads(1, "shared"), house.loads(1, "memory")) == (1, 1)


@pytest.mark.parametrize("hints", ["pass", "hold", "lose"])
async def test_a_load_gives_the_newest_whatever_becomes_of_hints(house: House, hints: str) -> None:
    one, other = house.managers
    house.shared[0].hints = house.shared[1].hints = hints
    for number in range(20):
        writer, reader = (one, other) if number % 2 else (other, one)
        version = await writer.save(ANA, house.lane, {"n": number})
        await writer.append(ANA, house.lane, "user", f"{number}")
        for known in (None, version):
            found = await reader.load(ANA, house.lane, at_least=known)
            assert (found.state, found.version) == ({"n": number}, version)
        assert (await reader.load(ANA, house.lane)).messages[-1].text == f"{number}"
    await house.shared[0].release()
    await house.shared[1].release()
    assert (await one.load(ANA, house.lane)).state == {"n": 19}


async def test_a_hint_takes_the_older_copy_away(house: House) -> None:
    one, other = house.managers
    first = await one.save(ANA, house.lane, {"n": 1})
    assert (await other.load(ANA, house.lane)).version == first
    house.shared[0].hints = "hold"
    second = await one.save(ANA, house.lane, {"n": 2})
    assert (await other.load(ANA, house.lane, at_least=first)).version == first
    await house.shared[0].release()
    tiers = other._tiers
    assert tiers is not None
    await until(lambda: house.lane not in tiers.memory._entries)
    assert (await other.load(ANA, house.lane, at_least=first)).version == second


async def test_what_was_seen_once_is_never_followed_by_something_older(house: House) -> None:
    one, other = house.managers
    house.shared[0].hints = "lose"
    first = await one.save(ANA, house.lane, {"n": 1})
    stale = await house.until_shared(first)
    second = await one.save(ANA, house.lane, {"n": 2})
    assert (await other.load(ANA, house.lane)).version == second
    await house.until_shared(second)
    shared = house.shared[1]._shared
    await shared.ask(Drop((house.key,)))
    await shared.ask(PutNewer(house.key, stale.value, stale.version, 60))
    assert other._tiers is not None
    other._tiers.memory.clear()
    found = await other.load(ANA, house.lane, at_least=first)
    assert (found.version, found.state) == (second, {"n": 2})
    assert house.failures(1, "stale") == 1


async def test_an_older_copy_in_redis_is_not_given_to_who_knows_better(house: House) -> None:
    one, other = house.managers
    first = await one.save(ANA, house.lane, {"n": 1})
    await house.until_shared(first)
    house.shared[0].is_away = True
    second = await one.save(ANA, house.lane, {"n": 2})
    found = await other.load(ANA, house.lane, at_least=second)
    assert (found.version, found.state) == (second, {"n": 2})
    assert house.failures(1, "stale") == 1
    assert house.failures(0, "unavailable") > 0


async def test_a_conflict_teaches_that_there_is_something_newer(house: House) -> None:
    one, other = house.managers
    first = await one.save(ANA, house.lane, {"n": 1})
    assert (await other.load(ANA, house.lane)).version == first
    house.shared[0].hints = "lose"
    second = await one.save(ANA, house.lane, {"n": 2})
    with pytest.raises(StateConflict):
        await other.save(ANA, house.lane, {"n": 3}, expected_version=first)
    assert (await other.load(ANA, house.lane, at_least=first)).version == second


async def test_flushed_redis_is_a_miss_and_fills_again(house: House, server: ValkeyProcess) -> None:
    one, other = house.managers
    version = await one.save(ANA, house.lane, {"n": 1})
    await house.until_shared(version)
    server.say("FLUSHALL")
    assert (await other.load(ANA, house.lane, at_least=version)).state == {"n": 1}
    assert house.journal.asked == ["GetState"]
    await house.until_shared(version)


async def test_without_redis_everything_works_and_failures_are_counted(house: House) -> None:
    one, other = house.managers
    for shared in house.shared:
        shared.is_away = True
    version = await one.save(ANA, house.lane, {"n": 1})
    assert (await other.load(ANA, house.lane, at_least=version)).state == {"n": 1}
    assert (await other.load(ANA, house.lane)).state == {"n": 1}
    await other.append(ANA, house.lane, "user", "hola")
    assert (await one.load(ANA, house.lane)).messages[0].text == "hola"
    assert await one.delete(ANA, house.lane) is True
    await one.erase(ANA)
    assert house.failures(0, "unavailable") > 0
    assert house.failures(1, "unavailable") > 0


async def test_a_stopped_redis_delays_no_load_for_longer_than_its_timeout() -> None:
    with valkey() as server:
        async with house_on(server, timeout_s=0.05) as house:
            one, other = house.managers
            version = await one.save(ANA, house.lane, {"n": 1})
            await house.until_shared(version)
            server.stop()
            loop = asyncio.get_running_loop()
            began_s = loop.time()
            assert (await other.load(ANA, house.lane, at_least=version)).state == {"n": 1}
            assert loop.time() - began_s < 1.0
            server.go_on()


async def test_damaged_and_foreign_bytes_are_a_miss_and_counted(house: House) -> None:
    one, other = house.managers
    version = await one.save(ANA, house.lane, {"n": 1})
    copy = await house.until_shared(version)
    bens = ids.new("c", 1)
    await one.save(BEN, bens, {"secret": 1})
    house.lane, lane = bens, house.lane
    foreign = await house.until_shared(1)
    house.lane = lane
    shared = house.shared[1]._shared
    house.shared[0].loses_puts = house.shared[1].loses_puts = True
    damaged = (
        (b"junk", copy.version),
        (b"\xc1" * 50, copy.version),
        (copy.value[:-3], copy.version),
        (copy.value.replace(b"\x81\xa1n\x01", b"\x81\xa1n\xc1"), copy.version),
        (copy.value, copy.version + 1),
        (foreign.value, copy.version),
        (foreign.value.replace(bens.encode(), lane.encode()), foreign.version),
    )
    assert other._tiers is not None
    for number, (value, claimed) in enumerate(damaged):
        await shared.ask(Drop((house.key,)))
        await shared.ask(PutNewer(house.key, value, claimed, 60))
        other._tiers.memory.clear()
        house.journal.asked.clear()
        found = await other.load(ANA, lane, at_least=version)
        assert (found.state, found.version) == ({"n": 1}, version)
        assert house.journal.asked == ["GetState"]
        assert house.failures(1, "corrupt") == number + 1


async def test_deleted_and_erased_conversations_are_gone_everywhere(house: House) -> None:
    one, other = house.managers
    for forget in (lambda: one.delete(ANA, house.lane), lambda: one.erase(ANA)):
        version = await one.save(ANA, house.lane, {"n": 1})
        assert (await other.load(ANA, house.lane, at_least=version)).version == version
        await house.until_shared(version)
        await forget()
        assert await house.shared_copy() is None
        tiers = other._tiers
        assert tiers is not None
        await until(lambda tiers=tiers: house.lane not in tiers.memory._entries)
        assert (await other.load(ANA, house.lane)).version == 0
        assert (await other.load(ANA, house.lane, at_least=version)).version == 0


async def test_writers_on_two_instances_lose_nothing_and_see_their_own_writes(house: House) -> None:
    async def count_up(manager: StateManager, times: int) -> None:
        version: int | None = None
        for _ in range(times):
            while True:
                found = await manager.load(ANA, house.lane, at_least=version)
                assert found.version >= (version or 0)
                found.state["n"] = found.state.get("n", 0) + 1
                try:
                    version = await manager.save(ANA, house.lane, found.state, expected_version=found.version)
                    break
                except StateConflict as conflict:
                    version = conflict.found

    await asyncio.gather(*(count_up(house.managers[number % 2], 10) for number in range(6)))
    for manager in house.managers:
        assert (await manager.load(ANA, house.lane)).state == {"n": 60}
