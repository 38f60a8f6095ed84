from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest
from tests.postgres_process import *  # noqa: F403
from tests.postgres_process import PgBouncer, PostgresServer
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, tell
from tests.state.journal_conformance_operations import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.postgres_migrations import supported_version

pytestmark = pytest.mark.skipif(PgBouncer.program() is None, reason="pgbouncer is not installed (Debian: pgbouncer)")


@pytest.fixture(scope="module")
def pooler(postgres_server: PostgresServer) -> Iterator[PgBouncer]:
    with PgBouncer(postgres_server) as made:
        yield made


@pytest.fixture
async def journal(pooler: PgBouncer, emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(pooler.url(emptied), clock=SystemClock())
    await made.open()
    yield made
    await made.close()


async def test_several_instances_migrate_once_through_a_pooler(pooler: PgBouncer, database: str) -> None:
    journals = [PostgresJournal(pooler.url(database), clock=SystemClock()) for _ in range(4)]
    for one in journals:
        await one.open()
    assert await asyncio.gather(*(one.migrate() for one in journals)) == [supported_version()] * 4
    for one in journals:
        await one.close()


async def test_many_tasks_of_two_instances_share_three_connections(pooler: PgBouncer, emptied: str) -> None:
    journals = [PostgresJournal(pooler.url(emptied), clock=SystemClock()) for _ in range(2)]
    for one in journals:
        await one.open()
    lanes = [await conversation(journals[0]) for _ in range(6)]
    commands = [(journals[number % 2], accept(lanes[number % 6], f"{number}")) for number in range(120)]
    reads = [journals[number % 2].query(c.GetConversation(id=lanes[0], owner=ANA)) for number in range(60)]
    told = asyncio.gather(*(tell(one, command) for one, command in commands))
    assert all(await asyncio.gather(*reads))
    accepted = await told
    assert sorted(one.position for one in accepted) == sorted(list(range(20)) * 6)
    for one in journals:
        await one.close()


async def test_nothing_of_a_session_is_left_for_the_next_client_of_the_pooler(
    pooler: PgBouncer, emptied: str, journal: PostgresJournal
) -> None:
    lane = await conversation(journal)
    await asyncio.gather(*(tell(journal, accept(lane)) for _ in range(30)))
    await journal.claim(1, instance="two", now=NOW)
    other = await asyncpg.connect(pooler.url(emptied).removesuffix("?pgbouncer=true"), statement_cache_size=0)
    for name, usual in (("enable_seqscan", "on"), ("statement_timeout", "0"), ("lock_timeout", "0")):
        for _ in range(4):
            async with other.transaction():
                assert await other.fetchval(f"SHOW {name}") == usual
    async with other.transaction():
        assert await other.fetchval("SELECT count(*) FROM pg_prepared_statements WHERE name <> ''") == 0
        assert await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
    await other.close()
