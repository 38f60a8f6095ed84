"""Batches, schedules and standing webhooks on SQLite itself: copies in memory have no part in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.state.batch_conformance import *  # noqa: F403
from tests.state.schedule_conformance import *  # noqa: F403
from tests.state.webhook_conformance import *  # noqa: F403

from ngx_agents.state.journal import Journal
from ngx_agents.state.sqlite import SqliteJournal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()
