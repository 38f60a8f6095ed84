"""Tasks of the open protocol and the outbox in the Postgres journal; the suite itself is `task_conformance`."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.task_conformance import *  # noqa: F403  # the suite, run on this implementation

from ngx_agents.clock import SystemClock
from ngx_agents.state.journal import Journal
from ngx_agents.state.postgres import PostgresJournal


@pytest.fixture
async def journal(emptied: str) -> AsyncIterator[Journal]:
    made = PostgresJournal(emptied, clock=SystemClock())
    await made.open()
    yield made
    await made.close()
