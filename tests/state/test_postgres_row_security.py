from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import ANA, BEN, NOW, accept, conversation, finish, ids, tell

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.state import commands as c
from ngx_agents.state.model import Artifact, LogEntry, Owner, Profile
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings

READABLE = ("conversation", "turn", "message", "artifact", "profile", "log")
ROLES = "CREATE ROLE anon NOLOGIN; CREATE ROLE authenticated NOLOGIN;"
# what Supabase does for every new table of a schema that it was told of
DEFAULTS = "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO anon, authenticated"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(fsync="off") as made:
        yield made


@pytest.fixture(scope="module")
def url(server: PostgresServer) -> str:
    """A journal with one turn and one of everything of Ana, of Ben, and of an Ana of another tenant."""
    return asyncio.run(_secured(server))


async def _secured(server: PostgresServer) -> str:
    with pytest.raises(ConfigError, match="authenticated"):
        await _filled(server, row_security="on")
    await server.execute(ROLES)
    return await _filled(server, row_security="auto")


async def _filled(server: PostgresServer, *, row_security: Any) -> str:
    name = await server.create_database()
    await server.execute(DEFAULTS if row_security == "auto" else "SELECT", name)
    settings = PostgresSettings(row_security=row_security)
    journal = PostgresJournal(server.url(name), clock=SystemClock(), settings=settings)
    await journal.open()
    try:
        await journal.migrate()
        await journal.migrate()
        for owner in (ANA, BEN, Owner("other", "ana")):
            await _fill(journal, owner)
    finally:
        await journal.close()
    return server.url(name)


async def _fill(journal: PostgresJournal, owner: Owner) -> None:
    lane = await conversation(journal, owner)
    secret = f"secret of {owner.tenant}/{owner.user}"
    turn = await tell(journal, accept(lane, secret, owner=owner, idempotency_key=secret, idempotency_hash=b"h"))
    plan = Artifact(
        id=ids.new("a", 1), agent="coach", kind="K", title=secret, data={}, created_at=NOW, turn_id=turn.turn_id,
        conversation_id=lane,
    )  # fmt: skip
    await tell(
        journal, c.SaveCheckpoint(conversation_id=lane, turn_id=turn.turn_id, epoch=1, key=secret, value=b"secret")
    )
    await tell(journal, finish(lane, turn.turn_id, 1, owner=owner, artifacts=(plan,)))
    await tell(journal, c.PutProfile(owner=owner, profile=Profile(name=secret), now=NOW))
    entry = LogEntry(id=ids.new("l", 1), kind="weight", at=NOW, data={"kg": 80})
    await tell(journal, c.AddLog(owner=owner, entry=entry))
    key = c.ApiKey(id=ids.new("k", 0), digest=secret.encode(), owner=owner, roles=(), created_at=NOW)
    await tell(journal, c.PutKey(key=key))
    await tell(journal, c.Beat(instance=secret))


@pytest.fixture
async def client(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


async def become(client: asyncpg.Connection, claims: str | None, role: str = "authenticated") -> None:
    """As PostgREST does for a request: the role, and the verified claims of its token."""
    await client.execute(f"SET ROLE {role}")
    if claims is not None:
        await client.execute("SELECT set_config('request.jwt.claims', $1, false)", claims)


async def counts(client: asyncpg.Connection) -> list[int]:
    return [await client.fetchval(f"SELECT count(*) FROM ngx.{table}") for table in READABLE]


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "ana", "tenant": "acme"},
        {"sub": "ana", "app_metadata": {"tenant": "acme"}},
        {"sub": "ben", "tenant": "acme", "app_metadata": {"tenant": "other"}, "user_metadata": {"tenant": "other"}},
        {"sub": "ana", "tenant": "other"},
    ],
)
async def test_a_client_reads_its_own_rows_and_no_others(client: asyncpg.Connection, claims: dict[str, Any]) -> None:
    await become(client, json.dumps(claims))
    assert await counts(client) == [1, 1, 2, 1, 1, 1]
    told = {row[0] for row in await client.fetch("SELECT text FROM ngx.message WHERE role = 'user'")}
    tenant = claims.get("tenant") or claims["app_metadata"]["tenant"]
    assert told == {f"secret of {tenant}/{claims['sub']}"}


@pytest.mark.parametrize(
    "claims",
    [
        None,
        "",
        "not json",
        "[]",
        "{}",
        '{"sub": null, "tenant": "acme"}',
        '{"sub": "ana"}',
        '{"sub": "ana", "user_metadata": {"tenant": "acme"}}',
        '{"sub": "%", "tenant": "%"}',
    ],
)
async def test_claims_that_name_nobody_here_read_nothing(client: asyncpg.Connection, claims: str | None) -> None:
    await become(client, claims)
    assert await counts(client) == [0] * 6


async def test_a_client_writes_nothing_and_sees_nothing_of_the_servers_own_tables(client: asyncpg.Connection) -> None:
    tables = [row[0] for row in await client.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'ngx'")]
    assert len(tables) >= 14
    await become(client, '{"sub": "ana", "tenant": "acme"}')
    for table in tables:
        if table not in READABLE:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await client.fetch(f"SELECT * FROM ngx.{table}")
        for write in (f"DELETE FROM ngx.{table}", f"UPDATE ngx.{table} SET {await _column(client, table)} = DEFAULT"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await client.execute(write)


async def _column(client: asyncpg.Connection, table: str) -> str:
    name: str = await client.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum = 1", f"ngx.{table}"
    )
    return name


async def test_the_anonymous_role_reaches_nothing(client: asyncpg.Connection) -> None:
    await become(client, '{"sub": "ana", "tenant": "acme"}', role="anon")
    for table in (*READABLE, "api_key"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await client.fetch(f"SELECT * FROM ngx.{table}")


async def test_every_table_of_the_journal_is_closed_by_row_security(client: asyncpg.Connection) -> None:
    open_tables = await client.fetch(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = 'ngx' AND c.relkind = 'r' AND NOT c.relrowsecurity"
    )
    assert open_tables == []
