from __future__ import annotations

import asyncio
import os
import sqlite3
from pathlib import Path

import pytest

from ngx_agents.errors import InvalidRequest, JournalError, JournalLocked, JournalTooNew, JournalUnavailable, NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.state.sqlite_backup import back_up, restore
from tests.cli.command import ngx_here
from tests.state.journal_conformance import ANA, conversation


async def opened(path: Path) -> SqliteJournal:
    journal = SqliteJournal(path)
    await journal.open()
    await journal.migrate()
    return journal


async def listed(path: Path) -> set[str]:
    journal = await opened(path)
    try:
        return {item.id for item in (await journal.query(c.ListConversations(owner=ANA, limit=1000))).items}
    finally:
        await journal.close()


async def made(path: Path, count: int = 3) -> set[str]:
    journal = await opened(path)
    lanes = {await conversation(journal) for _ in range(count)}
    await journal.close()
    return lanes


async def test_a_backup_taken_while_a_server_writes_is_whole_and_restores(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copies" / "copy.db"
    journal = await opened(path)
    before = {await conversation(journal) for _ in range(50)}
    async with asyncio.TaskGroup() as tasks:
        backup = tasks.create_task(asyncio.to_thread(back_up, path, copy))
        after = {await conversation(journal) for _ in range(50)}
    with pytest.raises(JournalLocked):
        restore(path, copy, suffix=".former")
    await journal.close()
    assert copy.stat().st_mode & 0o077 == 0
    assert before <= await listed(copy) <= before | after
    assert backup.result().conversations >= 50
    found = restore(path, copy, suffix=".former")
    assert before <= await listed(path) <= before | after
    assert found.former == tmp_path / "journal.db.former"
    assert await listed(found.former) == before | after


async def test_what_is_no_whole_journal_is_refused_and_the_journal_stays(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    lanes = await made(path, 200)
    back_up(path, copy)
    whole = copy.read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 4 : len(whole) // 4 + 6000] = b"\xa5" * 6000
    empty, foreign, newer = tmp_path / "empty.db", tmp_path / "foreign.db", tmp_path / "newer.db"
    empty.write_bytes(b"")
    (tmp_path / "text.db").write_text("no database " * 1000)
    (tmp_path / "damaged.db").write_bytes(damaged)
    (tmp_path / "torn.db").write_bytes(whole[: len(whole) // 2])
    for place, version in ((foreign, 0), (newer, 99)):
        db = sqlite3.connect(place)
        db.execute("CREATE TABLE conversation (id)")
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
    for name, error in (
        ("empty", JournalError), ("text", JournalError), ("damaged", JournalError), ("torn", JournalError),
        ("foreign", JournalError), ("newer", JournalTooNew), ("absent", NotFound),
    ):  # fmt: skip
        with pytest.raises(error):
            restore(path, tmp_path / f"{name}.db", suffix=".former")
    with pytest.raises(InvalidRequest):
        restore(path, path, suffix=".former")
    assert await listed(path) == lanes
    assert not [name for name in os.listdir(tmp_path) if "former" in name or "copying" in name]


async def test_a_backup_that_fails_leaves_the_older_one(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    lanes = await made(path)
    back_up(path, copy)
    (tmp_path / "broken.db").write_text("x" * 10_000)
    with pytest.raises(JournalError):
        back_up(tmp_path / "broken.db", copy)
    with pytest.raises(NotFound):
        back_up(tmp_path / "absent.db", copy)
    with pytest.raises(InvalidRequest):
        back_up(path, path)
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalUnavailable):
        back_up(path, tmp_path / "file" / "copy.db")
    assert await listed(copy) == lanes


async def test_a_damaged_journal_can_be_replaced(tmp_path: Path) -> None:
    path, copy = tmp_path / "journal.db", tmp_path / "copy.db"
    lanes = await made(path)
    back_up(path, copy)
    path.write_text("gone bad " * 1000)
    restore(path, copy, suffix=".former")
    assert await listed(path) == lanes


def test_the_commands_say_what_they_did(tmp_path: Path) -> None:
    asyncio.run(made(tmp_path / "d" / "journal.db"))
    done = ngx_here("backup", "copy.db", cwd=tmp_path, NGX_DATA_DIR="d")
    assert (done.returncode, "3 conversations" in done.stdout) == (0, True)
    done = ngx_here("restore", "copy.db", cwd=tmp_path, NGX_DATA_DIR="d")
    assert (done.returncode, "the former journal is" in done.stdout) == (0, True)
    done = ngx_here("restore", "absent.db", cwd=tmp_path, NGX_DATA_DIR="d")
    assert (done.returncode, "no backup" in done.stderr) == (1, True)
