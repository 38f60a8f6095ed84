"""All MCP servers of a configuration and what each specialist gets of them. Enter it to connect.

The server starts whether or not they do; `FIRST_LOOK_S` bounds what the start waits. One task a server, ended with the
context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from ngx_agents.agents.tools.mcp.offered import Offered
from ngx_agents.agents.tools.mcp.server import McpMeters, McpServer, McpSettings
from ngx_agents.agents.tools.tool import ToolContext, ToolOutput
from ngx_agents.clock import Clock, Rng
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import ToolDeclaration

FIRST_LOOK_S = 5.0
_log = event_log("mcp")


class ForeignTool:
    """Implements `tool.Tool`; called by a model only."""

    def __init__(self, server: McpServer, tool: Offered) -> None:
        self._server = server
        self._tool = tool

    @property
    def declaration(self) -> ToolDeclaration:
        return self._tool.declaration

    @property
    def skill(self) -> str:
        """No skill of a card: nothing of the team's is filled with its facts."""
        return f"mcp:{self._tool.declaration.name}"

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        return {}

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Raises RemoteError."""
        return ToolOutput(facts=await self._server.call(self._tool, arguments, deadline_s=context.deadline_s))


class McpServers:
    def __init__(self, settings: Sequence[McpSettings], *, metrics: Metrics, clock: Clock, rng: Rng) -> None:
        meters = McpMeters(metrics)
        self._servers = [McpServer(one, meters=meters, clock=clock, rng=rng) for one in settings]
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._running = [self._tasks.create_task(server.keep()) for server in self._servers]
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                for server in self._servers:
                    await server.looked.wait()
        except TimeoutError:
            _log.warning("mcp.slow_start", connected=sum(bool(server.offered) for server in self._servers))
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    def declarations(self, agent: str) -> tuple[ToolDeclaration, ...]:
        """What this specialist may call now."""
        return tuple(tool.declaration for server in self._of(agent) for tool in server.offered.values())

    def tool(self, agent: str, name: str) -> ForeignTool | None:
        for server in self._of(agent):
            if (found := server.offered.get(name)) is not None:
                return ForeignTool(server, found)
        return None

    def has_effects(self, agent: str, name: str) -> bool:
        """Whether this call may change something outside, so that it must not be repeated blindly."""
        return any(name in server.offered and server.offered[name].has_effects for server in self._of(agent))

    def _of(self, agent: str) -> list[McpServer]:
        return [server for server in self._servers if agent in server.settings.agents]
