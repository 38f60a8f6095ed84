"""Shards on servers with standbys: history goes on being served, never by a standby that lacks a shard that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import ANA, BEN, NOW, accept, finish, ids, tell

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.ids import SHARDS, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings
from ngx_agents.state.postgres_connections import Timeouts
from ngx_agents.state.replicas import ReplicaJournal, ReplicaSettings
from ngx_agents.state.shard_move import MoveSettings, ShardMover
from ngx_agents.state.sharded import ShardedJournal, ShardSettings
from ngx_agents.state.sharded_map import ShardMap

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
QUICK = PostgresSettings(timeouts=Timeouts(connect_s=1.0, statement_s=2.0, lock_s=1.0, call_s=2.0))
MOVE = MoveSettings(lease_s=0.3, lock_s=0.5)
MOVING = shard_of(ANA.user)


class Servers:
    """`a`, and `b` with a standby. Ana's shard is at a, all others at b."""

    def __init__(self, a: PostgresServer, b: PostgresServer, standby: PostgresServer) -> None:
        self.a, self.b, self.standby = a, b, standby
        self.urls: dict[str, str] = {}

    async def empty(self) -> None:
        self.urls = {"a": await self.a.emptied_journal(), "b": await self.b.emptied_journal()}

    def map(self) -> ShardMap:
        return ShardMap(["a" if shard == MOVING else "b" for shard in range(SHARDS)])

    async def on_standby(self, sql: str) -> object:
        connection = await asyncpg.connect(self.standby.url(self.urls["b"].rsplit("/", 1)[1]))
        try:
            return await connection.fetchval(sql)
        finally:
            await connection.close()

    async def caught_up(self, what: str = "replay") -> None:
        """The standby has replayed all that b has now, or received it; after a restart of b that takes some seconds."""
        connection = await asyncpg.connect(self.urls["b"])
        place = await connection.fetchval("SELECT pg_current_wal_flush_lsn()::text")
        await connection.close()
        async with asyncio.timeout(30):
            while not await self.on_standby(f"SELECT pg_last_wal_{what}_lsn() >= '{place}'"):  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    @asynccontextmanager
    async def journal(self) -> AsyncIterator[ShardedJournal]:
        def postgres(url: str) -> Journal:
            return PostgresJournal(url, clock=SystemClock(), settings=QUICK)

        def late(name: str) -> LateJournal:
            return LateJournal(lambda: postgres(self.urls[name]), name=name, clock=SystemClock())

        standby = self.standby.url(self.urls["b"].rsplit("/", 1)[1])
        replicated = ReplicaJournal(
            late("b"),
            {"b-1": lambda: postgres(standby)},
            clock=SystemClock(),
            rng=Rng(1),
            settings=ReplicaSettings(watch_s=0.05),
        )
        made = ShardedJournal(
            self.map(),
            {"a": late("a"), "b": replicated},
            clock=SystemClock(),
            settings=ShardSettings(refresh_s=0.05, lease_s=0.2, look_again_s=0.01),
        )
        await made.open()
        try:
            await made.migrate()
            yield made
        finally:
            await made.close()


@pytest.fixture(scope="module")
def started() -> Iterator[Servers]:
    with PostgresServer(fsync="off") as a, PostgresServer(fsync="off") as b:
        asyncio.run(b.emptied_journal())
        standby = b.replica()
        try:
            yield Servers(a, b, standby)
        finally:
            standby.remove()


@pytest.fixture
async def servers(started: Servers) -> Servers:
    await started.empty()
    return started


async def one_turn(journal: Journal, owner: Owner) -> str:
    shard = shard_of(owner.user)
    lane = ids.new("c", shard)
    await tell(journal, c.CreateConversation(id=lane, owner=owner, title="t", now=NOW))
    turn = await tell(journal, accept(lane, "hola", owner=owner, turn_id=ids.new("t", shard)))
    await tell(journal, finish(lane, turn.turn_id, turn.epoch, owner=owner))
    return lane


async def texts(journal: Journal, lane: str, owner: Owner) -> list[str]:
    page = await journal.query(c.ListMessages(conversation_id=lane, owner=owner))
    return [message.text for message in page.items]


async def eventually_read(journal: Journal, lane: str, owner: Owner) -> list[str]:
    async with asyncio.timeout(15):
        while True:
            try:
                return await texts(journal, lane, owner)
            except JournalUnavailable:
                await asyncio.sleep(0.05)


async def test_history_of_a_shard_is_served_by_its_standby_while_its_server_is_away(servers: Servers) -> None:
    async with servers.journal() as journal:
        lane = await one_turn(journal, BEN)
        await servers.caught_up()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(servers.b.kill)
        try:
            assert await eventually_read(journal, lane, BEN) == ["hola", "listo"]
            with pytest.raises(JournalUnavailable):
                await one_turn(journal, BEN)
            assert await texts(journal, await one_turn(journal, ANA), ANA) == ["hola", "listo"]
        finally:
            await asyncio.to_thread(servers.b.start)


async def test_a_standby_that_lacks_a_shard_that_came_answers_nothing_of_it(servers: Servers) -> None:
    async with servers.journal() as journal:
        lane = await one_turn(journal, ANA)
        await servers.caught_up()
        await servers.on_standby("SELECT pg_wal_replay_pause()")
        try:
            await ShardMover(servers.map(), servers.urls, clock=SystemClock(), settings=MOVE).move(MOVING, "b")
            async with asyncio.timeout(10):
                while not (journal.map.epoch_of(MOVING) and journal.map.has_arrived(MOVING, "b")):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await asyncio.sleep(0.3)  # until the position of what came is known; nobody has read any of it there
            await servers.caught_up("receive")
            await asyncio.to_thread(servers.b.kill)
            async with servers.journal() as another:
                for one in (journal, another):
                    for _ in range(5):
                        with pytest.raises(JournalUnavailable):
                            await texts(one, lane, ANA)
            await servers.on_standby("SELECT pg_wal_replay_resume()")
            assert await eventually_read(journal, lane, ANA) == ["hola", "listo"]
        finally:
            await asyncio.to_thread(servers.b.start)
