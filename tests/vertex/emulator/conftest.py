"""The room's emulator process, spoken to by a plain client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.vertex.conftest import Emulator
from tests.vertex.emulator.wire import Wire


async def opened(base_url: str) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield Wire(base_url, session)


@pytest_asyncio.fixture
async def wire(emulator: Emulator) -> AsyncIterator[Wire]:
    async for wire in opened(emulator.base_url):
        yield wire


@pytest_asyncio.fixture
async def guarded_wire(guarded_emulator: Emulator) -> AsyncIterator[Wire]:
    async for wire in opened(guarded_emulator.base_url):
        yield wire
