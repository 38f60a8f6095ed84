"""Requests with a prefix worth keeping."""

from __future__ import annotations

from typing import Any

from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.contexts.provider import ContextTarget
from ngx_agents.vertex.scope import Public
from tests.vertex.conftest import WEIGHT_TOOL, ask

TARGET = ContextTarget("p", "global", "gemini-3.8-flash")
SYSTEM = "You are a coach. " * 1200  # about 5,000 tokens


def shared_request(**fields: Any) -> ModelRequest:
    given: dict[str, Any] = {"system": SYSTEM, "tools": (WEIGHT_TOOL,), "prefix_scope": Public(), **fields}
    return ask(**given)
