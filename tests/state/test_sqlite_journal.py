from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, ids, tell
from tests.state.journal_conformance_blobs import *  # noqa: F403
from tests.state.journal_conformance_budgets import *  # noqa: F403
from tests.state.journal_conformance_governance import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403
from tests.state.journal_conformance_retention import *  # noqa: F403
from tests.state.journal_conformance_states import *  # noqa: F403

from ngx_agents.errors import JournalError, JournalLocked, JournalTooNew, JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Profile
from ngx_agents.state.sqlite import SqliteJournal


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "deep" / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


@pytest.fixture(params=["bare", "behind memory"])
async def journal(request: pytest.FixtureRequest, bare: SqliteJournal) -> Journal:
    return bare if request.param == "bare" else MemoryTier(bare)


async def test_a_second_server_is_refused_and_a_tool_is_not(bare: SqliteJournal, tmp_path: Path) -> None:
    second = SqliteJournal(tmp_path / "deep" / "journal.db")
    with pytest.raises(JournalLocked):
        await second.open()
    await second.close()
    tool = SqliteJournal(tmp_path / "deep" / "journal.db", exclusive=False)
    await tool.open()
    key = c.ApiKey(id=ids.new("k", 0), digest=b"d" * 32, owner=ANA, roles=(), created_at=NOW)
    await tell(tool, c.PutKey(key=key))
    with pytest.raises(JournalError):
        await tool.claim(1, instance="tool", now=NOW)
    await tool.close()
    assert await bare.query(c.FindKey(digest=b"d" * 32)) == key


async def test_a_newer_journal_is_refused_with_both_versions(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    journal = SqliteJournal(path)
    with pytest.raises(JournalTooNew) as refused:
        await journal.open()
    assert refused.value.found == 99
    await journal.close()


async def test_a_file_that_is_no_database_is_a_typed_error(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    path.write_text("this is not a database at all, but long enough to look like a page" * 100)
    journal = SqliteJournal(path)
    with pytest.raises(JournalError, match=r"journal\.db is not a SQLite database"):
        await journal.open()
    await journal.close()


async def test_a_folder_that_cannot_be_made_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = SqliteJournal(tmp_path / "file" / "journal.db")
    with pytest.raises(JournalUnavailable):
        await journal.open()
    await journal.close()


async def test_a_full_disk_refuses_new_turns_and_still_reads(bare: SqliteJournal) -> None:
    lane = await conversation(bare)
    await bare._writer.submit(lambda db: db.execute("PRAGMA max_page_count = 1").fetchone())
    results = await bare.transact([accept(lane, "x" * 30_000, max_waiting=1000) for _ in range(50)])
    refused = [result for result in results if isinstance(result, JournalUnavailable)]
    assert refused
    assert "disk is full" in str(refused[0])
    assert await bare.query(c.GetConversation(id=lane, owner=ANA)) is not None
    await bare._writer.submit(lambda db: db.execute("PRAGMA max_page_count = 1073741823").fetchone())
    await tell(bare, accept(lane, max_waiting=1000))


async def test_what_was_acknowledged_is_there_after_opening_again(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = SqliteJournal(path)
    await first.open()
    await first.migrate()
    lane = await conversation(first)
    turn = await tell(first, accept(lane))
    await first.close()
    second = SqliteJournal(path)
    await second.open()
    [grant] = await second.claim(10, instance="next", now=NOW)
    assert (grant.turn_id, grant.attempts) == (turn.turn_id, 2)
    await second.close()


async def test_a_closed_journal_says_so(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    await journal.close()
    await journal.close()
    with pytest.raises(JournalUnavailable):
        await journal.transact([])


async def test_a_job_that_breaks_our_code_fails_alone_and_the_journal_lives(bare: SqliteJournal) -> None:
    lane = await conversation(bare)
    broken = c.PutProfile(owner=ANA, profile=Profile(age=10**30), now=NOW)
    results = await bare.transact([accept(lane), broken])
    assert results[0].epoch == 1
    assert isinstance(results[1], JournalError)
    assert await bare.query(c.GetConversation(id=lane, owner=ANA)) is not None


async def test_a_locked_database_is_waited_for_once_per_batch(bare: SqliteJournal, tmp_path: Path) -> None:
    lane = await conversation(bare)
    await bare._writer.submit(lambda db: db.execute("PRAGMA busy_timeout = 50").fetchone())
    other = sqlite3.connect(tmp_path / "deep" / "journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(JournalUnavailable):
        await bare.transact([accept(lane) for _ in range(40)])
    assert loop.time() - began_s < 1.0
    other.execute("ROLLBACK")
    other.close()
    assert (await tell(bare, accept(lane))).epoch == 1


async def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "j.db")
    await journal.open()
    await journal.migrate()
    modes = await asyncio.to_thread(lambda: {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir()})
    await journal.close()
    assert modes
    assert not any(modes.values()), modes
