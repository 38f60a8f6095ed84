from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.postgres import PostgresJournal


@pytest.fixture
async def bare(database: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(database, clock=SystemClock())
    await made.open()
    await made.migrate()
    yield made
    await made.close()


@pytest.fixture(params=["bare", "behind memory"])
async def journal(request: pytest.FixtureRequest, bare: PostgresJournal) -> Journal:
    return bare if request.param == "bare" else MemoryTier(bare)
