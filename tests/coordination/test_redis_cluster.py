from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from redis.crc import key_slot

from ngx_agents.coordination import commands as c
from ngx_agents.coordination.connections import dedicated
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedUnavailable
from tests.coordination.members import members, until_it_works
from tests.coordination.shared_conformance import *  # noqa: F403
from tests.coordination.shared_conformance import Pair, fresh
from tests.valkey_process import SLOTS, ValkeyProcess, valkey_cluster

FAILOVER_S = 12.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[ValkeyProcess]]:
    with valkey_cluster() as nodes:
        yield nodes


def url_of(nodes: list[ValkeyProcess]) -> str:
    return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in nodes[:2])


@pytest.fixture
async def pair(nodes: list[ValkeyProcess]) -> AsyncIterator[Pair]:
    async with members(url_of(nodes)) as (one, other):
        yield one, other


def key_on(master: int) -> str:
    while True:
        key = fresh()
        if key_slot(f"ngx:{key}".encode()) * 3 // SLOTS == master:
            return key


async def test_keys_lie_on_all_masters(nodes: list[ValkeyProcess], pair: Pair) -> None:
    for index, node in enumerate(nodes[:3]):
        key = key_on(index)
        await pair[0].ask(c.Put(key, b"here", 60))
        assert node.say("EXISTS", f"ngx:{key}") == b":1\r\n"


async def test_a_slot_that_moves_is_followed(nodes: list[ValkeyProcess]) -> None:
    async with members(url_of(nodes)) as [one, other]:
        tag = "{" + key_on(0) + "}"
        while key_slot(tag.encode()) * 3 // SLOTS != 0:
            tag = "{" + fresh() + "}"
        kept, late = f"{tag}kept", f"{tag}late"
        await one.ask(c.Put(kept, b"kept", 60))
        slot = str(key_slot(tag.encode()))
        ids = [node.say("CLUSTER", "MYID").split(b"\r\n")[1] for node in nodes[:3]]
        nodes[1].say("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        nodes[0].say("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        # not there: asked of the new owner (ASK)
        await one.ask(c.Put(late, b"late", 60))
        assert nodes[1].say("CLUSTER", "COUNTKEYSINSLOT", slot) == b":1\r\n"
        assert await other.ask(c.GetMany((kept, late))) == [b"kept", b"late"]
        moved = nodes[0].say("MIGRATE", "127.0.0.1", str(nodes[1].port), f"ngx:{kept}", "0", "5000")
        assert moved.startswith(b"+OK")
        for node in (nodes[1], nodes[0], nodes[2]):
            node.say("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
        # it lies elsewhere for good (MOVED)
        assert await one.ask(c.GetMany((kept, late))) == [b"kept", b"late"]
        assert await other.ask(c.Count(f"{tag}n", 1, 60)) == 1


async def test_a_dedicated_client_of_a_cluster_follows_keys(nodes: list[ValkeyProcess]) -> None:
    client = await dedicated(url_of(nodes))
    try:
        for index in range(20):
            await client.xadd(f"stream{index}", {b"a": b"b"})
            assert await client.xlen(f"stream{index}") == 1
    finally:
        await client.aclose()


async def test_a_dead_master_fails_only_its_own_keys_and_its_replica_takes_over() -> None:
    with valkey_cluster() as nodes:
        # the only node that the URL names is the one to die
        async with members(f"redis+cluster://127.0.0.1:{nodes[0].port}") as [one, other]:
            keys = [key_on(index) for index in range(3)]
            await asyncio.gather(*(each.ask(c.Put(key, b"before", 60)) for key in keys for each in (one, other)))
            nodes[0].kill()
            with pytest.raises(SharedUnavailable):
                await one.ask(c.Get(keys[0]))
            for _ in range(20):
                assert await one.ask(c.GetMany(tuple(keys[1:]))) == [b"before"] * 2
            await until_it_works(lambda: one.ask(c.Put(keys[0], b"after", 60)), within_s=FAILOVER_S)
            await until_it_works(lambda: other.ask(c.Put(keys[0], b"after", 60)), within_s=FAILOVER_S)
            assert await other.ask(c.Get(keys[0])) == b"after"
            await hear_each_other(one, other)


async def hear_each_other(one: Shared, other: Shared) -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        heard = tasks.create_task(anext(other.listen("channel")))
        while not heard.done():
            await until_it_works(lambda: one.publish("channel", b"hint"), within_s=5)
            await asyncio.sleep(0.02)
    assert heard.result() == b"hint"
