"""The procedure of docs/database.md, step by step: a base backup, archived log, the loss of everything, a restore."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import ANA, NOW, accept, conversation, finish, tell

from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state.postgres import PostgresJournal

ARCHIVE_TIMEOUT_S = 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PostgresServer]:
    made = PostgresServer(
        wal_level="replica",
        archive_mode="on",
        archive_timeout=f"{ARCHIVE_TIMEOUT_S}s",
        archive_command="test ! -f ../archive/%f && cp %p ../archive/%f.part && mv ../archive/%f.part ../archive/%f",
    )
    archive = made.folder / "archive"
    archive.mkdir()
    shutil.chown(archive, *_account(made))
    with made:
        yield made


def _account(server: PostgresServer) -> tuple[int, int]:
    told = server.folder.stat()
    return told.st_uid, told.st_gid


@pytest.mark.slow
async def test_a_lost_server_is_restored_up_to_the_last_archived_segment(server: PostgresServer) -> None:
    name = await server.create_database()
    journal = PostgresJournal(server.url(name), clock=SystemClock())
    await journal.open()
    await journal.migrate()
    lane = await conversation(journal)
    told = await talk(journal, lane, 0, 0.3)
    backup = server.folder / "backup"
    await asyncio.to_thread(server.run, "pg_basebackup", "-D", backup, "-X", "none", "-c", "fast", "-d", server.url())
    await asyncio.to_thread(server.run, "pg_verifybackup", "--no-parse-wal", backup)
    told += await talk(journal, lane, len(told), 3.0)
    await asyncio.to_thread(server.kill)
    lost_s = time.monotonic()
    await journal.close()
    await asyncio.to_thread(shutil.rmtree, server.data)  # the disk is gone; the archive and the backup are elsewhere

    await asyncio.to_thread(backup.rename, server.data)
    restore = f"restore_command = 'cp {server.folder}/archive/%f %p'\narchive_mode = off\n"
    with (server.data / "postgresql.auto.conf").open("a") as settings:
        settings.write(restore)
    (server.data / "recovery.signal").touch()
    shutil.chown(server.data / "recovery.signal", *_account(server))
    server._settings.pop("archive_mode")
    await asyncio.to_thread(server.start)
    restored = PostgresJournal(server.url(name), clock=SystemClock())
    await restored.open()
    page = await restored.query(c.ListMessages(conversation_id=lane, owner=ANA, limit=10_000))
    stored = [message.text for message in page.items if message.role == "user"]
    assert stored == [text for _, text in told][: len(stored)]
    last_s = max(at for at, text in told if text == stored[-1])
    assert len(stored) > 50
    print(f"recovery point: {lost_s - last_s:.2f} s, {len(told) - len(stored)} of {len(told)} turns")  # noqa: T201
    assert lost_s - last_s < ARCHIVE_TIMEOUT_S + 2
    await until_promoted(server, name)
    assert (await tell(restored, accept(lane, "y sigue"))).position in (0, 1)
    await restored.close()


async def talk(journal: PostgresJournal, lane: str, first: int, for_s: float) -> list[tuple[float, str]]:
    """Turns with the time of their acknowledgement."""
    told: list[tuple[float, str]] = []
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        command = accept(lane, f"texto {first + len(told)}", now=NOW)
        accepted = await tell(journal, command)
        await tell(journal, finish(lane, command.turn_id, accepted.epoch, user_seq=accepted.user_seq))
        told.append((time.monotonic(), command.text))
        await asyncio.sleep(0.005)
    return told


async def until_promoted(server: PostgresServer, database: str) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                await server.execute("CREATE TEMP TABLE probe ()", database)
            except Exception:  # noqa: BLE001 - still in recovery
                await asyncio.sleep(0.05)
            else:
                return
