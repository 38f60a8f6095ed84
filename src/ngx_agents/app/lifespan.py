"""What a server starts and stops, in the order of the layers: what instances share, journal, model, bus, turn
engine; and back. What is optional never keeps a server from starting: without it, answers come from further down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from starlette.types import ASGIApp

from ngx_agents.app.admission import build_gate
from ngx_agents.app.config_sections import Config
from ngx_agents.app.drain import Drain
from ngx_agents.app.foreign import elsewhere
from ngx_agents.app.foundation import Foundation
from ngx_agents.app.later import later_at_work
from ngx_agents.app.mode_signals import ModeSignals
from ngx_agents.app.open_protocol import serving_grpc
from ngx_agents.app.posting import build_outbox
from ngx_agents.app.secret_key import secret_keys
from ngx_agents.app.wiring import (
    Parts,
    build_engine,
    build_entrance,
    build_gatekeeper,
    build_gateway,
    build_parts,
    build_sweeper,
    choose_model,
    gateway_settings,
    peer_signature,
    wants_local_model,
)
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.deps import Exposition
from ngx_agents.gateway.peers import HttpPeers
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.modes import Modes
from ngx_agents.resilience.peer_load import PeerLoads
from ngx_agents.state.expiry import Sweeper
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.peers import Peers
from ngx_agents.vertex.local_model.process import LocalModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A started server without its socket: `app` answers until the context that made it is left."""

    parts: Parts
    engine: TurnEngine
    app: ASGIApp
    drain: Drain

    @property
    def config(self) -> Config:
        return self.parts.config

    @property
    def metrics(self) -> Metrics:
        return self.parts.metrics


@asynccontextmanager
async def running(
    config: Config, *, address: str | None = None, exposition: Exposition | None = None
) -> AsyncIterator[Running]:
    """`address` is where other instances reach this one; `exposition` tells more than this process has counted.

    Raises ConfigError, JournalLocked, JournalTooNew, JournalUnavailable; what was started by then is stopped.
    """
    settings = gateway_settings(config)
    async with AsyncExitStack() as stack:
        foundation = await lay_foundation(config, stack)
        local = None
        if wants_local_model(config):
            local = await stack.enter_async_context(LocalModel(clock=foundation.clock, metrics=foundation.metrics))
        parts = build_parts(config, await choose_model(config, local), foundation)
        stack.push_async_callback(parts.journal.close)
        await parts.journal.open()
        await parts.journal.migrate()
        await stack.enter_async_context(parts.governance.controls)
        await stack.enter_async_context(parts.governance.ledger)
        await stack.enter_async_context(parts.governance.key_uses)
        if parts.governance.limits is not None:
            await stack.enter_async_context(parts.governance.limits)
        if parts.client is not None:
            await stack.enter_async_context(parts.client)
        await stack.enter_async_context(elsewhere(parts.team))
        await stack.enter_async_context(parts.bus)
        peers = await _other_instances(parts, stack)
        engine = await stack.enter_async_context(build_engine(parts, address=address, peers=peers))
        await stack.enter_async_context(_sweeping(build_sweeper(parts, engine.instance), parts))
        outbox = build_outbox(config, foundation, journal=parts.journal, instance=engine.instance)
        await stack.enter_async_context(outbox)
        await _keep_order(parts, engine, stack)
        drain = Drain(engine, delay_s=config.server.drain_delay_s)
        entrance = build_entrance(parts)
        later = await stack.enter_async_context(later_at_work(parts, engine, entrance))
        deps = build_gateway(
            parts, engine, drain=drain, exposition=exposition, entrance=entrance, batches=later.batches
        )
        app = create_app(deps, settings)
        await stack.enter_async_context(serving_grpc(config, deps, settings))
        yield Running(parts=parts, engine=engine, app=app, drain=drain)


async def _other_instances(parts: Parts, stack: AsyncExitStack) -> Peers | None:
    """None where there can be none."""
    signature = peer_signature(parts)
    if signature is None:
        return None
    peers = HttpPeers(signature, ca_file=parts.config.server.tls_ca, heard=parts.foundation.peer_loads.told)
    return await stack.enter_async_context(peers)


async def _keep_order(parts: Parts, engine: TurnEngine, stack: AsyncExitStack) -> None:
    """The mode by what the server stands on, and who is let in."""
    await stack.enter_async_context(ModeSignals(parts))
    await stack.enter_async_context(build_gatekeeper(parts, engine.instance))


@asynccontextmanager
async def _sweeping(sweeper: Sweeper, parts: Parts) -> AsyncIterator[None]:
    """Where messages have their time, copies in memory go each time, whichever instance sweeps the journal."""
    config, forget = parts.config.retention, parts.memory.forget_messages
    tasks = asyncio.TaskGroup()
    await tasks.__aenter__()
    task = tasks.create_task(sweeper.run(lambda _: forget() if config.messages_days else 0))
    try:
        yield
    finally:
        task.cancel()
        await tasks.__aexit__(None, None, None)


async def lay_foundation(config: Config, stack: AsyncExitStack) -> Foundation:
    """What is to be closed goes onto the stack. Raises ConfigError."""
    clock, metrics = SystemClock(), Metrics()
    traces = Traces(endpoint=config.telemetry.otlp_endpoint, sample_ratio=config.telemetry.trace_share)
    await stack.enter_async_context(traces)
    shared: Shared | None = None
    if config.redis.url is not None:
        shared = RedisShared(config.redis.url, clock=clock, rng=Rng(), metrics=metrics)
        await shared.open()
        stack.push_async_callback(shared.close)
    return Foundation(
        clock=clock,
        metrics=metrics,
        courtesy=Courtesy(),
        traces=traces,
        shared=shared,
        keys=secret_keys(config),
        modes=Modes(clock=clock),
        gate=build_gate(config, clock=clock, rng=Rng()),
        peer_loads=PeerLoads(clock=clock),
    )
