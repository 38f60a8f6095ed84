from __future__ import annotations

import pytest

from ngx_agents.agents.tools.mcp import stdio


@pytest.fixture(autouse=True)
def _servers_end_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most servers of these tests do not end by themselves."""
    monkeypatch.setattr(stdio, "CLOSE_S", 0.1)
