from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.turns.house import House

from ngx_agents.turns.engine import TurnEngine


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    made = House(tmp_path / "journal.db")
    await made.journal.open()
    await made.journal.migrate()
    yield made
    await made.journal.close()


@pytest.fixture
async def engine(house: House) -> AsyncIterator[TurnEngine]:
    async with house.engine() as running:
        yield running
