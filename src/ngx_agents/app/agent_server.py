"""A process that serves single agents over Redis and nothing else: no journal, no turns, no callers over HTTP.

What an agent needs travels in the message, and what is to be written goes back to the turn's owner. Its socket answers
load balancers and monitoring alone. Told to stop, it takes no message more and finishes those it has within `drain_s`;
what is left then goes to others that serve the same agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from ngx_agents.a2a.server import A2AServer
from ngx_agents.app.config_sections import Config
from ngx_agents.app.drain import Leaving
from ngx_agents.app.lifespan import lay_foundation
from ngx_agents.app.wiring import build_bus, build_client, build_team, choose_model, wants_local_model
from ngx_agents.clock import Clock
from ngx_agents.gateway.probes import Probes
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.local_model.process import LocalModel

log = event_log("app")


class AgentDrain(Leaving):
    """One task runs `run`."""

    def __init__(self, bus: A2AServer, clock: Clock, *, delay_s: float, drain_s: float) -> None:
        super().__init__()
        self._bus = bus
        self._clock = clock
        self._delay_s = delay_s
        self._drain_s = drain_s

    async def run(self) -> None:
        """Returns when there is nothing left to wait for."""
        await self._told.wait()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._is_hurried.wait())
            stopping = tasks.create_task(self._stop())
            await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()
            stopping.cancel()

    async def _stop(self) -> None:
        await self._clock.sleep(self._delay_s)
        await self._bus.stop(drain_s=self._drain_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAgents:
    """A started process without its socket. `label` is what answers, `agents` who is served."""

    config: Config
    metrics: Metrics
    app: ASGIApp
    drain: AgentDrain
    label: str
    agents: tuple[str, ...]


@asynccontextmanager
async def running_agents(config: Config) -> AsyncIterator[RunningAgents]:
    """Raises ConfigError; what was started by then is stopped."""
    async with AsyncExitStack() as stack:
        foundation = await lay_foundation(config, stack)
        local = None
        if wants_local_model(config):
            local = await stack.enter_async_context(LocalModel(clock=foundation.clock, metrics=foundation.metrics))
        choice = await choose_model(config, local)
        client = None
        if choice.settings is not None:
            client = await stack.enter_async_context(build_client(config, choice.settings, foundation))
        bus = build_bus(config, foundation)
        team = build_team(config, choice, client, bus, foundation)
        await stack.enter_async_context(team.tool_servers)
        await bus.start()
        stack.push_async_callback(bus.stop, drain_s=0.0)
        drain = AgentDrain(bus, foundation.clock, delay_s=config.server.drain_delay_s, drain_s=config.server.drain_s)
        app = Probes(foundation.metrics, clock=foundation.clock, ready=lambda: not drain.is_leaving)
        log.info("agents.served", count=len(bus.agents))
        yield RunningAgents(
            config=config, metrics=foundation.metrics, app=app, drain=drain, label=choice.label, agents=bus.agents
        )
