"""Agents and tool servers elsewhere, from the configuration to what the team is given."""

from __future__ import annotations

from ngx_agents.agents.remote.agent import RemoteSettings
from ngx_agents.agents.remote.http import auth_headers
from ngx_agents.app.config_sections import Config


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
