"""The journal on one SQLite file: for a laptop, a single server, and tests.

WAL with `synchronous=FULL`; one writer thread with group commit, one reader thread. A server opens it exclusively (a
lock beside the file), so lanes that another incarnation held are free by definition; a tool beside a running server
opens it with `exclusive=False` and must not claim lanes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ngx_agents.errors import JournalError, JournalLocked, JournalTooNew, JournalUnavailable
from ngx_agents.resilience.caller import urgency_of
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.commands import Command, Grant, Question
from ngx_agents.state.migrations import migrations
from ngx_agents.state.owner_thread import OwnerThread
from ngx_agents.state.sqlite_batches import in_transaction, read_batch, understood, write_batch
from ngx_agents.state.sqlite_turns import claim_lanes
from ngx_agents.state.urgency import CLASSES, FIRST, INTERACTIVE, urgency_of_commands

Connection = sqlite3.Connection
BUSY_TIMEOUT_MS = 5000


class SqliteJournal:
    """`path` is the database file; its folder is made when absent."""

    def __init__(self, path: Path, *, courtesy: Courtesy | None = None, exclusive: bool = True) -> None:
        self._path = path
        self._exclusive = exclusive
        self._lock_file: int | None = None
        courtesy = courtesy or Courtesy()
        self._writer = OwnerThread(
            "ngx-journal-writer", self._connect, run_batch=write_batch, understood=understood, courtesy=courtesy
        )
        self._reader = OwnerThread(
            "ngx-journal-reader", self._connect_to_read, run_batch=read_batch, understood=understood, courtesy=courtesy
        )

    async def open(self) -> None:
        await asyncio.to_thread(self._prepare)
        await self._writer.start()
        found = await self._writer.submit(_user_version)
        supported = migrations("sqlite")[-1][0]
        if found > supported:
            await self.close()
            raise JournalTooNew(found=found, supported=supported)
        await self._reader.start()

    async def close(self) -> None:
        await self._writer.stop()
        await self._reader.stop()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    async def migrate(self) -> int:
        version = await self._writer.submit(migrate_database)
        return int(version)

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:  # whatever was handed in before is done when it returns
            await asyncio.gather(*(self._writer.submit((), urgency) for urgency in range(CLASSES)))
            return []
        results: list[Any] = await self._writer.submit(commands, urgency_of_commands(commands))
        return results

    async def query(self, question: Question) -> Any:
        return await self._reader.submit(question, urgency_of(INTERACTIVE))

    async def claim(self, limit: int, *, instance: str, now: float) -> list[Grant]:
        if not self._exclusive:
            raise JournalError("a journal that was not opened exclusively cannot claim lanes")
        grants: list[Grant] = await self._writer.submit(
            lambda db: in_transaction(db, lambda: claim_lanes(db, limit=limit, instance=instance)), FIRST
        )
        return grants

    def _prepare(self) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # what people say is theirs
            if self._exclusive:
                self._lock_file = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock_file or -1)
            self._lock_file = None
            raise JournalLocked(f"another server has {self._path} open") from error
        except OSError as error:
            raise JournalUnavailable(f"{self._path} cannot be opened: {error.strerror}") from error

    def _connect(self) -> Connection:
        db = sqlite3.connect(self._path, isolation_level=None, cached_statements=256)
        db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        try:
            db.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            db.close()
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise JournalError(f"{self._path} is not a SQLite database") from error
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        return db

    def _connect_to_read(self) -> Connection:
        db = self._connect()
        db.execute("PRAGMA query_only = ON")
        return db


def _user_version(db: Connection) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def migrate_database(db: Connection) -> int:
    """Brings the schema up to date; its version."""
    version = _user_version(db)
    for number, sql in migrations("sqlite"):
        if number > version:
            script = f"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {number}; COMMIT;"
            try:
                db.executescript(script)
            except sqlite3.Error:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                if _user_version(db) < number:
                    raise
            version = number
    return version
