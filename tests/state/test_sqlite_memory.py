from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.memory_journal import opened
from tests.state.journal_conformance import *  # noqa: F403
from tests.state.journal_conformance_blobs import *  # noqa: F403
from tests.state.journal_conformance_operations import *  # noqa: F403
from tests.state.journal_conformance_retention import *  # noqa: F403
from tests.state.journal_conformance_states import *  # noqa: F403

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.journal import Journal
from ngx_agents.state.sqlite_memory import MemoryJournal


@pytest.fixture
async def journal() -> AsyncIterator[Journal]:
    async with opened(MemoryJournal()) as made:
        yield made


async def test_two_of_them_share_nothing_and_a_closed_one_says_so(journal: Journal) -> None:
    other = MemoryJournal()
    await other.open()
    await other.migrate()
    lane = await conversation(journal)  # noqa: F405
    assert await other.query(c.GetConversation(id=lane, owner=ANA)) is None  # noqa: F405
    await other.close()
    with pytest.raises(JournalUnavailable):
        await other.transact([])
