from __future__ import annotations

from collections.abc import Iterator

import pytest

from ngx_agents.agents.tools.mcp import stdio
from tests.agents.tools.mcp.peers import sdk_http_server


@pytest.fixture(autouse=True)
def _servers_end_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most servers of these tests do not end by themselves."""
    monkeypatch.setattr(stdio, "CLOSE_S", 0.1)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The SDK's server over HTTP, one for all: it takes a second to start."""
    with sdk_http_server() as url:
        yield url
