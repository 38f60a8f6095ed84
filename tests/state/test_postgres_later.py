"""Batches, schedules and standing webhooks on Postgres itself: copies in memory have no part in them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.batch_conformance import *  # noqa: F403
from tests.state.schedule_conformance import *  # noqa: F403
from tests.state.webhook_conformance import *  # noqa: F403

from ngx_agents.clock import SystemClock
from ngx_agents.state.journal import Journal
from ngx_agents.state.postgres import PostgresJournal


@pytest.fixture
async def journal(emptied: str) -> AsyncIterator[Journal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    await made.migrate()
    yield made
    await made.close()
