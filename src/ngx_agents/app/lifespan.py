"""What a server starts and stops, in the order of the layers: journal, model client, turn engine; and back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from ngx_agents.app.config_sections import Config
from ngx_agents.app.wiring import Parts, build_engine, build_gateway, build_parts, choose_model, gateway_settings
from ngx_agents.gateway.application import create_app
from ngx_agents.turns.engine import TurnEngine


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started server without its socket: `app` answers until the context that made it is left."""

    parts: Parts
    engine: TurnEngine
    app: ASGIApp


@asynccontextmanager
async def running(config: Config) -> AsyncIterator[Running]:
    """Raises ConfigError, JournalLocked, JournalTooNew, JournalUnavailable; what was started by then is stopped."""
    parts = build_parts(config, await choose_model(config))
    settings = gateway_settings(config)
    try:
        await parts.journal.open()
        await parts.journal.migrate()
        async with _client(parts), build_engine(parts) as engine:
            yield Running(parts=parts, engine=engine, app=create_app(build_gateway(parts, engine), settings))
    finally:
        await parts.journal.close()


@asynccontextmanager
async def _client(parts: Parts) -> AsyncIterator[None]:
    if parts.client is None:
        yield
        return
    async with parts.client:
        yield
