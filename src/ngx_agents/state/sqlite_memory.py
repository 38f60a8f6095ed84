"""The SQLite journal without a file: everything in this process's memory, gone when it is closed.

For a library user who asks for nothing more, and for tests. One thread owns the one connection.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.commands import Command, Grant, Question
from ngx_agents.state.owner_thread import OwnerThread
from ngx_agents.state.sqlite import migrate_database
from ngx_agents.state.sqlite_batches import in_transaction, understood, write_batch
from ngx_agents.state.sqlite_questions import answer
from ngx_agents.state.sqlite_turns import claim_lanes

Connection = sqlite3.Connection


class MemoryJournal:
    """A journal that lasts as long as it is open."""

    def __init__(self, *, courtesy: Courtesy | None = None) -> None:
        self._thread = OwnerThread(
            "ngx-journal-memory",
            _connect,
            run_batch=write_batch,
            understood=understood,
            courtesy=courtesy or Courtesy(),
        )

    async def open(self) -> None:
        await self._thread.start()

    async def close(self) -> None:
        await self._thread.stop()

    async def migrate(self) -> int:
        version: int = await self._thread.submit(migrate_database)
        return version

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        results: list[Any] = await self._thread.submit(commands)
        return results

    async def query(self, question: Question) -> Any:
        return await self._thread.submit(lambda db: answer(db, question))

    async def claim(self, limit: int, *, instance: str, now: float) -> list[Grant]:
        grants: list[Grant] = await self._thread.submit(
            lambda db: in_transaction(db, lambda: claim_lanes(db, limit=limit, instance=instance))
        )
        return grants


def _connect() -> Connection:
    return sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
