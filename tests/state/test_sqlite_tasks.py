"""Tasks of the open protocol in the SQLite journal; the suite itself is `task_conformance`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.state.task_conformance import *  # noqa: F403  # the suite, run on this implementation

from ngx_agents.state.journal import Journal
from ngx_agents.state.sqlite import SqliteJournal


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()
