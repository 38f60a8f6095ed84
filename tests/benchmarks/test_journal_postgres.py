"""The bare loop beside the journal's benchmark writes what the journal writes, whatever columns there are by now."""

from __future__ import annotations

from benchmarks.journal_postgres import measure
from tests.postgres_process import *  # noqa: F403
from tests.postgres_process import PostgresServer


async def test_both_loops_end_every_turn_and_every_line_measures_something(postgres_server: PostgresServer) -> None:
    outcome = await measure(postgres_server, 64, 1)
    assert len(outcome.lines) == 8
    assert all(line.measured > 0.0 for line in outcome.lines)
