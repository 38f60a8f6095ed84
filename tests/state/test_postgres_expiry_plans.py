"""Batches of expiry keep their limit also where the database joins the other way round.

It does so once its statistics say that a table holds one row: then it asks for the rows to delete anew for each row of
the table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, ids, tell
from tests.state.journal_conformance_states import DAY_S, expire

from ngx_agents.clock import SystemClock
from ngx_agents.state import commands as c
from ngx_agents.state.model import LogEntry
from ngx_agents.state.postgres import PostgresJournal


@pytest.fixture
async def journal(emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    yield made
    await made.close()


async def gather_statistics(url: str, table: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"VACUUM ANALYZE ngx.{table}")
    finally:
        await connection.close()


async def test_logs_go_in_small_batches(journal: PostgresJournal, emptied: str) -> None:
    for day in range(5):
        entry = LogEntry(id=ids.new("l", 1), kind="weight", at=NOW + day, data={})
        await tell(journal, c.AddLog(owner=ANA, entry=entry))
        if day == 0:
            await gather_statistics(emptied, "log")
    expired = c.Expire(kind="logs", before=NOW + DAY_S, now=NOW + 10 * DAY_S, limit=2, log_kind="weight")
    assert [await tell(journal, expired) for _ in range(3)] == [2, 2, 1]


async def test_idempotency_keys_go_in_small_batches(journal: PostgresJournal, emptied: str) -> None:
    lane = await conversation(journal)
    for number in range(5):
        known = accept(lane, idempotency_key=f"k{number}", idempotency_hash=b"1", now=NOW + number)
        await tell(journal, known)
        if number == 0:
            await gather_statistics(emptied, "idempotency")
    assert [await tell(journal, expire("idempotency", NOW + 9, limit=2)) for _ in range(3)] == [2, 2, 1]
