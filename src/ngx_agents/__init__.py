"""NGX Agents: a server for teams of LLM agents. The public names, loaded on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ngx_agents.a2a.server import A2AServer as A2AServer
    from ngx_agents.state.manager import StateManager as StateManager
    from ngx_agents.state.model import Owner as Owner
    from ngx_agents.vertex.client import VertexAIClient as VertexAIClient

__version__ = "0.1.0"
__all__ = ["A2AServer", "Owner", "StateManager", "VertexAIClient", "__version__"]

_HOMES = {
    "A2AServer": "ngx_agents.a2a.server",
    "Owner": "ngx_agents.state.model",
    "StateManager": "ngx_agents.state.manager",
    "VertexAIClient": "ngx_agents.vertex.client",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(home), name)
