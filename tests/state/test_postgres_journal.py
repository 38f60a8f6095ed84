from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest
from tests.ports import free_port
from tests.postgres_process import *  # noqa: F403
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, ids, tell
from tests.state.journal_conformance_blobs import *  # noqa: F403
from tests.state.journal_conformance_budgets import *  # noqa: F403
from tests.state.journal_conformance_governance import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403
from tests.state.journal_conformance_retention import *  # noqa: F403
from tests.state.journal_conformance_states import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, InvalidRequest, JournalError, JournalTooNew, JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.ids import SHARDS
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Artifact, Profile
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.state.postgres_connections import Target
from ngx_agents.state.postgres_migrations import supported_version
from ngx_agents.telemetry.metrics import Metrics


@pytest.fixture
async def bare(emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    yield made
    await made.close()


@pytest.fixture(params=["bare", "behind memory"])
async def journal(request: pytest.FixtureRequest, bare: PostgresJournal) -> Journal:
    return bare if request.param == "bare" else MemoryTier(bare)


async def select(url: str, sql: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(sql)
    finally:
        await connection.close()


async def refusal(url: str) -> BaseException:
    journal = PostgresJournal(url, clock=SystemClock())
    with pytest.raises(Exception) as refused:  # noqa: PT011 - the caller looks at what it is
        await journal.open()
    await journal.close()
    return refused.value


async def test_instances_that_start_at_once_migrate_once(database: str) -> None:
    journals = [PostgresJournal(database, clock=SystemClock()) for _ in range(6)]
    for one in journals:
        await one.open()
    assert await asyncio.gather(*(one.migrate() for one in journals)) == [supported_version()] * 6
    applied = await select(database, "SELECT version FROM ngx.migration ORDER BY version")
    assert [row[0] for row in applied] == list(range(1, supported_version() + 1))
    for one in journals:
        await one.close()


async def test_a_newer_journal_is_refused_with_both_versions(database: str) -> None:
    journal = PostgresJournal(database, clock=SystemClock())
    await journal.open()
    await journal.migrate()
    await select(database, "INSERT INTO ngx.migration (version) VALUES (99)")
    refused = await refusal(database)
    assert isinstance(refused, JournalTooNew)
    assert (refused.found, refused.supported) == (99, supported_version())
    with pytest.raises(JournalTooNew):
        await journal.migrate()
    await journal.close()


async def test_a_journal_that_was_not_migrated_says_so(database: str) -> None:
    journal = PostgresJournal(database, clock=SystemClock())
    await journal.open()
    assert await journal.query(c.Ping()) == 0
    with pytest.raises(JournalError, match="migrate"):
        await journal.query(c.GetProfile(owner=ANA))
    with pytest.raises(JournalError, match="migrate"):
        await conversation(journal)
    await journal.close()


async def test_what_is_wrong_with_the_url_is_one_clear_line_without_its_secrets(
    postgres_server: PostgresServer,
) -> None:
    wrong_password = await refusal(postgres_server.url(password="s3cr3t"))
    no_database = await refusal(postgres_server.url("absent"))
    nobody_there = await refusal(f"postgresql://postgres:s3cr3t@127.0.0.1:{free_port()}/x")
    unusable = await refusal(f"{postgres_server.url()}?sslmode=s3cr3t")
    assert [type(one) for one in (wrong_password, no_database, nobody_there, unusable)] == [
        ConfigError, ConfigError, JournalUnavailable, ConfigError,
    ]  # fmt: skip
    for one in (wrong_password, no_database, nobody_there, unusable):
        assert "s3cr3t" not in str(one)
        assert "127.0.0.1" not in str(one)
        assert "\n" not in str(one)
    for url in ("mysql://x", "postgresql://h:port/x", "nonsense"):
        with pytest.raises(ConfigError):
            PostgresJournal(url, clock=SystemClock())


def test_a_pooler_is_told_by_the_url_or_by_supabases_port() -> None:
    assert not Target.parse("postgresql://u:p@h/d?sslmode=require").pooled
    told = Target.parse("postgres://u:p@h:5000/d?sslmode=require&pgbouncer=true&connection_limit=1")
    assert (told.pooled, told.dsn) == (True, "postgres://u:p@h:5000/d?sslmode=require")
    assert Target.parse("postgresql://u:p@aws-0.pooler.supabase.com:6543/postgres").pooled
    assert not Target.parse("postgresql://u:p@h:6543/d?pgbouncer=false").pooled
    assert not Target.parse("postgresql://u:6543@[::1]:5432,h2,h3:5433/d").pooled


async def test_a_closed_journal_says_so(emptied: str) -> None:
    journal = PostgresJournal(emptied, clock=SystemClock())
    await journal.open()
    await journal.close()
    await journal.close()
    for call in (journal.transact([]), journal.query(c.Ping()), journal.claim(1, instance="one", now=NOW)):
        with pytest.raises(JournalUnavailable):
            await call
    never_opened = PostgresJournal(emptied, clock=SystemClock())
    with pytest.raises(JournalUnavailable):
        await never_opened.transact([])


async def test_text_that_postgres_cannot_hold_is_kept_with_a_mark_in_its_place(bare: PostgresJournal) -> None:
    lane = await conversation(bare)
    turn = await tell(bare, accept(lane, "a\x00b \ud800 é 😀"))
    page = await bare.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert page.items[0].text == "a\ufffdb \ufffd é 😀"
    answered = finish(lane, turn.turn_id, 1)
    assert answered.message is not None
    answered.message.text = "x\x00y"
    plan = Artifact(
        id=ids.new("a", 1), agent="coach", kind="K", title="\x00", data={"a": "\x00"}, created_at=NOW,
        turn_id=turn.turn_id, conversation_id=lane,
    )  # fmt: skip
    await tell(bare, msgspec.structs.replace(answered, artifacts=(plan,)))
    assert (await bare.query(c.GetArtifact(id=plan.id, owner=ANA))).data == {"a": "\x00"}
    page = await bare.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert page.items[-1].text == "x\ufffdy"


async def test_a_value_that_cannot_be_stored_fails_alone_among_many(bare: PostgresJournal) -> None:
    lane = await conversation(bare)
    good = [accept(lane, f"texto {number}") for number in range(20)]
    bad = [accept(lane, agent="\x00"), accept(lane, turn_class=10**6), accept(lane, locale="\ud800")]
    told = await asyncio.gather(*(bare.transact([command]) for command in [*good[:7], *bad, *good[7:]]))
    refused = [result for [result] in told if isinstance(result, InvalidRequest)]
    assert len(refused) == 3
    page = await bare.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [m.text for m in page.items] == [command.text for command in good]


async def test_a_command_that_breaks_our_code_fails_alone_and_the_journal_lives(bare: PostgresJournal) -> None:
    lane = await conversation(bare)
    asked = accept(lane)
    broken = finish(lane, asked.turn_id, 1, artifacts=(object(),))
    results = await bare.transact([asked, broken, c.PutProfile(owner=ANA, profile=Profile(age=10**30), now=NOW)])
    assert results[0].epoch == 1
    assert type(results[1]) is JournalError
    assert (await bare.query(c.GetTurn(id=asked.turn_id, owner=ANA))).status == "running"
    assert (await bare.query(c.GetProfile(owner=ANA))).age == 10**30


async def test_the_same_commands_told_again_do_nothing_again_and_give_the_same(bare: PostgresJournal) -> None:
    lane = await conversation(bare)
    first, second = accept(lane, "uno"), accept(lane, "dos")
    accepted = [await tell(bare, first), await tell(bare, second)]
    assert [await tell(bare, first), await tell(bare, second)] == accepted
    end = finish(lane, first.turn_id, 1, grant_to="one")
    finished = await tell(bare, end)
    assert await tell(bare, end) == finished
    assert finished.next.text == "dos"
    page = await bare.query(c.ListMessages(conversation_id=lane, owner=ANA))
    assert [m.text for m in page.items] == ["uno", "listo", "dos"]


async def test_what_belongs_to_a_user_is_in_the_shard_of_its_id(bare: PostgresJournal, emptied: str) -> None:
    for shard in (0, 7, SHARDS - 1):
        lane = ids.new("c", shard)
        turn_id = ids.new("t", shard)
        await tell(bare, c.CreateConversation(id=lane, owner=ANA, title="", now=NOW))
        await tell(bare, accept(lane, turn_id=turn_id))
    for table in ("conversation", "turn", "message"):
        rows = await select(emptied, f"SELECT shard FROM ngx.{table} ORDER BY shard")
        assert [row[0] for row in rows] == [0, 7, SHARDS - 1]
    keys = await select(
        emptied,
        "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'ngx' AND i.indisprimary"
        " AND c.relname NOT IN ('migration', 'applied', 'instance', 'writer', 'election', 'shard_change')",
    )
    assert len(keys) >= 10
    assert {row[1] for row in keys} == {"shard"}


async def test_what_waits_while_a_batch_is_written_is_the_next_batch(emptied: str) -> None:
    metrics = Metrics()
    journal = PostgresJournal(emptied, clock=SystemClock(), metrics=metrics)
    await journal.open()
    lanes = [await conversation(journal) for _ in range(10)]
    batches = metrics.histogram("ngx_journal_batch_jobs", "").labels()
    before = sum(batches.counts)
    await asyncio.gather(*(tell(journal, accept(lanes[number % 10])) for number in range(400)))
    assert sum(batches.counts) - before <= 10
    await journal.close()
