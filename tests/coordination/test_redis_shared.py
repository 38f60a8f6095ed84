from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import uvloop

from ngx_agents.coordination import commands as c
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedRefused, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from tests.coordination.members import member, members
from tests.coordination.shared_conformance import *  # noqa: F403
from tests.coordination.shared_conformance import MAX_VALUE_BYTES, Pair, fresh
from tests.valkey_process import ValkeyProcess, valkey


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
async def pair(server: ValkeyProcess) -> AsyncIterator[Pair]:
    async with members(f"redis://127.0.0.1:{server.port}") as (one, other):
        yield one, other


@pytest.fixture
async def counted(server: ValkeyProcess) -> AsyncIterator[tuple[Shared, Metrics]]:
    metrics = Metrics()
    one = member(f"redis://127.0.0.1:{server.port}/3?namespace=own", metrics=metrics)
    await one.open()
    yield one, metrics
    await one.close()


def corrupt_entries(metrics: Metrics) -> float:
    [line] = [line for line in metrics.render().decode().splitlines() if line.startswith("ngx_shared_corrupt_total ")]
    return float(line.split()[1])


async def test_damaged_bytes_are_a_miss_and_erased_and_counted(
    server: ValkeyProcess, counted: tuple[Shared, Metrics]
) -> None:
    shared, metrics = counted
    key = fresh()
    await shared.ask(c.PutNewer(key, b"precious", 2**60, 60))
    server.say("SETRANGE", f"own:{key}", "16", "X", database=3)
    assert await shared.ask(c.Get(key)) is None
    assert corrupt_entries(metrics) == 1
    assert server.say("EXISTS", f"own:{key}", database=3) == b":0\r\n"
    assert await shared.ask(c.PutNewer(key, b"again", 1, 60))
    assert await shared.ask(c.Get(key)) == b"again"


@pytest.mark.parametrize("foreign", [b"hello", b"", b"x" * (MAX_VALUE_BYTES + 1000), b"\xff" * 40])
async def test_foreign_bytes_are_a_miss_left_alone_and_taken_over(
    server: ValkeyProcess, counted: tuple[Shared, Metrics], foreign: bytes
) -> None:
    shared, metrics = counted
    key = fresh()
    server.say("SET", f"own:{key}", foreign, database=3)
    assert await shared.ask(c.GetVersioned(key)) is None
    assert await shared.ask(c.GetMany((key,))) == [None]
    assert corrupt_entries(metrics) == (2 if foreign else 0)
    assert server.say("EXISTS", f"own:{key}", database=3) == b":1\r\n"
    assert await shared.ask(c.PutNewer(key, b"ours", 1, 60))
    assert await shared.ask(c.Get(key)) == b"ours"


async def test_other_kinds_under_our_names_are_taken_over(
    server: ValkeyProcess, counted: tuple[Shared, Metrics]
) -> None:
    shared, metrics = counted
    value, level, broken, group = fresh(), fresh(), fresh(), fresh("group")
    server.say("LPUSH", f"own:{value}", "x", database=3)
    server.say("LPUSH", f"own:{level}", "x", database=3)
    server.say("HSET", f"own:{broken}", "tokens", "nan", "at_us", "1", database=3)
    server.say("SET", f"own:group:{{{group}}}", "x", database=3)
    server.say("SET", f"own:dropping:{{{group}}}", "x", database=3)
    assert await shared.ask(c.Get(value)) is None
    for key in (level, broken):
        assert (await shared.ask(c.Reserve((c.Bucket(key, 5, 1e-6, 5),)))).is_granted
        assert not (await shared.ask(c.Reserve((c.Bucket(key, 5, 1e-6, 1),)))).is_granted
    await shared.ask(c.Put(value, b"v", 60, group))
    assert await shared.ask(c.DropGroup(group)) == 1
    assert corrupt_entries(metrics) == 3


async def test_everything_expires_and_stays_in_its_namespace(
    server: ValkeyProcess, counted: tuple[Shared, Metrics]
) -> None:
    shared, _ = counted
    server.say("FLUSHDB", database=3)
    group = fresh("group")
    await shared.ask(c.Put(fresh(), b"v", 60, group))
    await shared.ask(c.PutNewer(fresh(), b"v", 1, 3600, group))
    await shared.ask(c.Count(fresh(), 1, 60))
    await shared.ask(c.Reserve((c.Bucket(fresh(), 5, 1, 5),)))
    await shared.ask(c.Settle(c.Bucket(fresh(), 5, 1), 50))
    keys = server.say("KEYS", "*", database=3).split(b"\r\n")[2::2]
    assert len(keys) == 6
    for key in keys:
        assert key.startswith(b"own:")
        assert 0 < int(server.say("PTTL", key, database=3)[1:]) <= 3_600_000
    of_group = int(server.say("PTTL", f"own:group:{{{group}}}", database=3)[1:])
    assert of_group > 3_590_000


async def test_an_index_holds_no_more_than_what_lives(server: ValkeyProcess, counted: tuple[Shared, Metrics]) -> None:
    shared, _ = counted
    group = fresh("group")
    for _ in range(50):
        await shared.ask(c.Put(fresh(), b"v", 0.001, group))
    await asyncio.sleep(0.01)
    await shared.ask(c.Put(fresh(), b"v", 60, group))
    assert server.say("ZCARD", f"own:group:{{{group}}}", database=3) == b":1\r\n"


async def test_scripts_the_server_forgot_are_sent_again(server: ValkeyProcess, pair: Pair) -> None:
    key = fresh()
    assert await pair[0].ask(c.Count(key, 1, 60)) == 1
    server.say("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(pair[0].ask(c.Count(key, 1, 60)) for _ in range(3))) == [2, 3, 4]


async def test_a_full_server_refuses_writes_and_still_answers_reads() -> None:
    with valkey("--maxmemory", "5mb", "--maxmemory-policy", "noeviction") as small:
        async with members(f"redis://127.0.0.1:{small.port}", 1) as [shared]:
            await shared.ask(c.Put("first", b"kept", 60))
            too_much = [c.Put(fresh(), b"x" * MAX_VALUE_BYTES, 60) for _ in range(100)]
            with pytest.raises(SharedUnavailable):
                await asyncio.gather(*(shared.ask(put) for put in too_much))
            assert await shared.ask(c.Get("first")) == b"kept"


async def test_commands_are_counted_by_outcome(counted: tuple[Shared, Metrics]) -> None:
    shared, metrics = counted
    await shared.ask(c.Get("k"))
    with pytest.raises(SharedRefused):
        await shared.ask(c.Get(""))
    told = metrics.render().decode()
    assert 'ngx_shared_commands_total{command="Get",outcome="ok"} 1.0' in told
    assert 'ngx_shared_commands_total{command="Get",outcome="refused"} 1.0' in told
    assert 'ngx_shared_seconds_count{command="Get"} 2.0' in told


def test_it_works_on_uvloop(server: ValkeyProcess) -> None:
    async def share() -> bytes | None:
        async with members(f"redis://127.0.0.1:{server.port}", 1) as [shared]:
            await shared.ask(c.Put("uv", b"loop", 60))
            return await shared.ask(c.Get("uv"))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(share()) == b"loop"
