"""A journal in memory for tests, open and with its tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from ngx_agents.state.sqlite_memory import MemoryJournal

J = TypeVar("J", bound=MemoryJournal)


@asynccontextmanager
async def opened(journal: J) -> AsyncIterator[J]:
    await journal.open()
    try:
        await journal.migrate()
        yield journal
    finally:
        await journal.close()
