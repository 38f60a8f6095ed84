"""Agents and tool servers elsewhere, from the configuration to what the team is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.remote.agent import RemoteSettings
from ngx_agents.agents.remote.http import auth_headers
from ngx_agents.agents.tools.mcp.channel import Channel
from ngx_agents.agents.tools.mcp.http_channel import HttpChannel
from ngx_agents.agents.tools.mcp.server import McpSettings
from ngx_agents.agents.tools.mcp.stdio import StdioChannel
from ngx_agents.app.config import inherited_environment
from ngx_agents.app.config_named import McpServerConfig
from ngx_agents.app.config_sections import Config

USUAL_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")


@asynccontextmanager
async def elsewhere(team: CoachingTeam) -> AsyncIterator[None]:
    """The team's agents and tools elsewhere are there while the context is entered."""
    async with team.remote, team.tool_servers:
        yield


def remote_settings(config: Config) -> tuple[RemoteSettings, ...]:
    return tuple(
        RemoteSettings(
            id=name,
            card_url=one.card,
            origins=one.origins,
            headers=tuple(auth_headers(one.auth_header, one.token).items()),
            skills=one.skills,
            timeout_s=one.timeout_s,
            max_response_bytes=one.max_response_bytes,
            calls_per_minute=one.calls_per_minute,
            max_in_flight=one.max_in_flight,
            refresh_s=one.refresh_s,
        )
        for name, one in config.remote_agents.items()
    )


def tool_servers(config: Config) -> tuple[McpSettings, ...]:
    return tuple(
        McpSettings(
            name=name,
            connect=partial(_channel, one),
            tools=frozenset(one.tools),
            agents=frozenset(one.agents),
            timeout_s=one.timeout_s,
            max_result_bytes=one.max_result_bytes,
        )
        for name, one in config.mcp_servers.items()
    )


def _channel(one: McpServerConfig) -> Channel:
    if one.url is not None:
        return HttpChannel(one.url, headers=auth_headers(one.auth_header, one.token))
    return StdioChannel(one.command, environment=inherited_environment((*USUAL_VARIABLES, *one.pass_env)))
