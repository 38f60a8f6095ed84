"""One browser and one server for all tests, a fresh browser profile for each test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.chromium import ARGUMENTS, executable
from tests.browser.page_of_chat import ChatPage
from tests.browser.serving import start_server
from tests.emulator_process import start_emulator

NO_CACHE = {"vertex_cache_enabled": "false"}  # the tests ask the same things, and look at answers being made
VIEWPORT = {"width": 1280, "height": 860}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server whose model answers at once."""
    with _server(tmp_path_factory, chunks=12) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server whose model answers in 60 pieces, 25 ms apart."""
    with _server(tmp_path_factory, chunks=60, chunk_gap_ms=25) as base_url:
        yield base_url


@contextmanager
def _server(tmp_path_factory: pytest.TempPathFactory, **emulation: int) -> Iterator[str]:
    executable()
    folder: Path = tmp_path_factory.mktemp("server")
    with (
        start_emulator(**emulation) as emulator,
        start_server(folder, vertex_base_url=emulator, vertex_project="test", **NO_CACHE) as base_url,
    ):
        yield base_url


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        await browser.close()
    await asyncio.sleep(0)


@pytest_asyncio.fixture(loop_scope="session")
async def chat(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[ChatPage]:
    """A page of its own; `@pytest.mark.parametrize("chat", [{...}], indirect=True)` gives its context other options."""
    options = {"viewport": VIEWPORT, "locale": "es-MX", **getattr(request, "param", {})}
    context = await browser.new_context(**options)
    yield ChatPage(await context.new_page())
    await context.close()
