"""The open protocol's part of the wiring: its settings, the writer of its webhooks, the test agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_network
from pathlib import Path

from ngx_agents import __version__
from ngx_agents.agents.test_agent import ID, MODES, Served, WithTestAgent, answers_at_once
from ngx_agents.app.config_sections import Config
from ngx_agents.app.roles import takes_turns
from ngx_agents.errors import ConfigError, NgxError
from ngx_agents.gateway.a2a.door import A2aDoor
from ngx_agents.gateway.a2a.grpc_server import GrpcServer, GrpcSettings
from ngx_agents.gateway.a2a.settings import A2aSettings, never
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.journal import Journal
from ngx_agents.state.push_commands import DuePush
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Letter, Render, Sealer


def a2a_settings(config: Config, keys: tuple[bytes, ...]) -> A2aSettings | None:
    """None when it is switched off or no turns are taken. Raises ConfigError for a key file that cannot be read."""
    a2a = config.a2a
    if not a2a.enabled or not takes_turns(config):
        return None
    grpc_host = (a2a.public_url or f"http://{config.server.host}").partition("://")[2].partition(":")[0]
    return A2aSettings(
        version=__version__,
        has_auth=config.auth.mode != "none",
        public_url=a2a.public_url,
        grpc_url=f"{grpc_host}:{a2a.grpc_port}" if a2a.grpc_port else None,
        speaks_0_3=a2a.v0_3,
        wait_s=a2a.wait_s,
        max_streams=a2a.max_streams,
        max_body_bytes=config.server.max_body_bytes,
        attachments_bytes=config.blobs.user_bytes,
        default_agent=ID if a2a.test_agent else None,
        input_modes={ID: MODES} if a2a.test_agent else {},
        answers_at_once=answers_at_once if a2a.test_agent else never,
        required_extensions=a2a.required_extensions,
        card_key=_pem(a2a.card_key_file),
        card_key_id=a2a.card_key_id,
        secret_keys=keys,
    )


def outbox_guard(config: Config) -> Guard:
    return Guard(config.outbox.allow, https_only=config.outbox.https_only)


def task_letters(journal: Journal, keys: Sequence[bytes], guard: Guard) -> Render:
    """Writes what webhooks of tasks get; loads the protocol's SDK with the first."""

    async def render(due: DuePush) -> Sequence[Letter]:
        def load() -> Render:
            from ngx_agents.gateway.a2a.pushes import Pushes

            return Pushes(journal, Sealer(keys), guard).letters

        try:
            letters = await asyncio.to_thread(load)
        except ImportError as error:
            raise NgxError("webhooks of tasks need the extra a2a") from error
        return await letters(due)

    return render


def team_with(team: Served, config: Config) -> Served:
    return WithTestAgent(team) if config.a2a.test_agent else team


@asynccontextmanager
async def serving_grpc(config: Config, deps: GatewayDeps, settings: GatewaySettings) -> AsyncIterator[None]:
    """The binding on its own port, if it is to be served. Raises ConfigError: no extra, port taken, no certificate."""
    if deps.a2a is None or not config.a2a.grpc_port:
        yield
        return
    auth = Authenticator(settings.auth, journal=deps.journal, clock=deps.clock, revocations=deps.controls.revocations)
    door = A2aDoor(deps, deps.a2a, deps.guard, auth)
    server, tls = config.server, None
    if server.tls_cert is not None and server.tls_key is not None:
        tls = _read(server.tls_cert, "[server] tls_cert"), _read(server.tls_key, "[server] tls_key")
    http_url = f"{'http' if tls is None else 'https'}://{server.host}:{server.port}"
    edge = config.edge
    listening = GrpcSettings(
        host=server.host,
        port=config.a2a.grpc_port,
        http_url=http_url,
        tls=tls,
        max_calls=edge.max_connections,
        max_calls_per_connection=edge.max_connections_per_address,
        max_header_bytes=edge.max_header_bytes,
        stalled_s=edge.stalled_timeout_s,
        trusted_proxies=tuple(ip_network(one) for one in edge.trusted_proxies),
    )
    async with GrpcServer(door, auth, deps.a2a, listening):
        yield


def _pem(path: str | None) -> str | None:
    if path is None:
        return None
    return _read(path, "[a2a] card_key_file").decode("ascii", "replace")


def _read(path: str, setting: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read") from error
