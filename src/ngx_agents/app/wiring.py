"""Where the pieces meet: the one place that chooses implementations, from the configuration and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ngx_agents.a2a.carrier import Carrier
from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.trail import Trails
from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.prompt import cache_user
from ngx_agents.agents.spending import Spending
from ngx_agents.app.config_sections import Config, VertexConfig
from ngx_agents.app.drain import Drain
from ngx_agents.app.foreign import remote_settings, tool_servers
from ngx_agents.app.foundation import Foundation
from ngx_agents.app.governance import Governance, governance_of
from ngx_agents.app.journals import retention_of, tiers_of
from ngx_agents.app.open_protocol import a2a_settings, outbox_guard, team_with
from ngx_agents.app.posting import webhook_desk
from ngx_agents.app.roles import is_on_redis, require_known, runs_turns, takes_turns
from ngx_agents.clock import Clock, Rng
from ngx_agents.console.application import create_console
from ngx_agents.gateway.deps import Exposition, GatewayDeps
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.gatekeeper import Gatekeeper, told_load
from ngx_agents.gateway.peer_signature import PeerSignature
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.expiry import Sweeper
from ngx_agents.state.failover import FailoverJournal
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Owner
from ngx_agents.state.object_tier import ObjectTier
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.peers import Peers
from ngx_agents.turns.settings import TurnSettings
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.credentials import has_credentials
from ngx_agents.vertex.local_model import LANGUAGES, MODEL_NAME, is_installed
from ngx_agents.vertex.local_model.process import LocalModel
from ngx_agents.vertex.quota import QuotaLimit
from ngx_agents.vertex.settings import VertexSettings

CALLS_PER_TURN = 8
log = event_log("app")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What answers: `settings` None means templates; `label` is for people. `is_small`: the extra's own model alone."""

    settings: VertexSettings | None
    label: str
    is_small: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The pieces of one server, made and not yet started."""

    config: Config
    foundation: Foundation
    ids: Ids
    journal: Journal
    memory: MemoryTier
    objects: ObjectTier | None
    failover: FailoverJournal | None
    choice: ModelChoice
    client: VertexAIClient | None
    governance: Governance
    bus: A2AServer
    team: CoachingTeam

    @property
    def clock(self) -> Clock:
        return self.foundation.clock

    @property
    def metrics(self) -> Metrics:
        return self.foundation.metrics


def wants_local_model(config: Config) -> bool:
    """Whether the extra's own model is to run: installed, not switched off, and nothing better in its place."""
    is_alone = config.server.workers == 1  # each worker would run one of its own
    is_asked = config.server.role != "gateway"
    return (
        is_alone and is_asked and config.local.builtin == "auto" and config.local.model_url is None and is_installed()
    )


async def choose_model(config: Config, local: LocalModel | None = None) -> ModelChoice:
    """Vertex when it is configured and credentials are found, else the OpenAI-compatible server, else the small model
    of the extra, else templates. What comes after the first stands behind it for simple questions."""
    vertex, lacking = config.vertex, ""
    if vertex.project or vertex.api_key or vertex.base_url:
        settings = _vertex_settings(config, local)
        if await has_credentials(settings):
            return ModelChoice(settings=settings, label=f"{vertex.model} on Vertex AI ({vertex.location})")
        log.warning("model.no_credentials", project=vertex.project)
        lacking = f" (no Google credentials found for project {vertex.project})"
    if config.local.model_url:
        settings = VertexSettings(
            provider="openai",
            openai_url=config.local.model_url,
            model=config.local.model,
            transport=vertex.transport,
            ca_file=vertex.ca_file,
        )
        return ModelChoice(settings=settings, label=f"{config.local.model} at {config.local.model_url}{lacking}")
    if local is not None:
        settings = VertexSettings(provider="openai", openai_url=local.url, model=MODEL_NAME, api_key=local.token)
        label = f"{MODEL_NAME} in a process of its own, for simple questions in English; templates else{lacking}"
        return ModelChoice(settings=settings, label=label, is_small=True)
    return ModelChoice(settings=None, label=f"none: the agents' own tools fill templates{lacking}")


def _vertex_settings(config: Config, local: LocalModel | None) -> VertexSettings:
    vertex = config.vertex
    url, model, key = config.local.model_url, config.local.model, None
    if local is not None:
        url, model, key = local.url, MODEL_NAME, local.token
    return VertexSettings(
        project=vertex.project or (None if vertex.api_key else "local"),
        location=vertex.location,
        base_url=vertex.base_url,
        api_key=vertex.api_key,
        model=vertex.model,
        transport=vertex.transport,
        http2=vertex.http2,
        residency=vertex.residency,
        traffic=vertex.traffic,
        fallback_locations=vertex.fallback_locations,
        fallback_models=vertex.fallback_models,
        local_url=url,
        local_model=model,
        local_key=key,
        ca_file=vertex.ca_file,
        quota=_quota(vertex),
        quota_instances=vertex.quota_instances,
    )


def _quota(vertex: VertexConfig) -> tuple[QuotaLimit, ...]:
    if not vertex.requests_per_minute and not vertex.tokens_per_minute:
        return ()
    requests, tokens = vertex.requests_per_minute or None, vertex.tokens_per_minute or None
    return (QuotaLimit(requests_per_min=requests, tokens_per_min=tokens),)


def build_parts(config: Config, choice: ModelChoice, foundation: Foundation) -> Parts:
    """Raises ConfigError, never touches disk or network."""
    client = build_client(config, choice.settings, foundation) if choice.settings is not None else None
    tiers = tiers_of(
        config,
        clock=foundation.clock,
        metrics=foundation.metrics,
        courtesy=foundation.courtesy,
        shared=foundation.shared,
    )
    bus = build_bus(config, foundation)
    model = choice.settings.model if choice.settings is not None else None
    governance = governance_of(config, tiers.journal, foundation, model=model)
    team = build_team(config, choice, client, bus, foundation, spending=governance.spending)
    return Parts(
        config=config,
        foundation=foundation,
        ids=Ids(foundation.clock),
        journal=tiers.journal,
        memory=tiers.memory,
        objects=tiers.objects,
        failover=tiers.failover,
        choice=choice,
        client=client,
        governance=governance,
        bus=bus,
        team=team,
    )


def build_team(
    config: Config,
    choice: ModelChoice,
    client: VertexAIClient | None,
    bus: A2AServer,
    foundation: Foundation,
    *,
    spending: Spending | None = None,
) -> CoachingTeam:
    """Without `spending` nothing is paid here: whoever asks over Redis pays.

    Raises ConfigError for an agent in the settings that the team does not have.
    """
    team = CoachingTeam(
        model=client,
        bus=bus,
        agents=config.server.agents,
        small_model_languages=LANGUAGES if choice.is_small else frozenset(),
        clock=foundation.clock,
        rng=Rng(),
        metrics=foundation.metrics,
        history_tokens=config.turns.history_tokens,
        remote=remote_settings(config) if runs_turns(config) else (),
        spending=spending,
        modes=foundation.modes,
        cheaper_model=config.budgets.cheaper_model,
        tool_servers=tool_servers(config),
        consults=config.bus.consults,
        trails=Trails(foundation.keys),
    )
    require_known(config, [card.id for card in team.cards()])
    return team


def build_bus(config: Config, foundation: Foundation) -> A2AServer:
    """How the team's agents ask one another. It is no narrower than the turns unless it is told to be: who gets in is
    decided at the turn's start, not in its middle."""
    bus, running = config.bus, config.turns.max_running
    carrier: Carrier | None = None
    if is_on_redis(config) and config.redis.url is not None:
        carrier = RedisCarrier(
            config.redis.url, keys=foundation.keys, clock=foundation.clock, rng=Rng(), metrics=foundation.metrics
        )
    return A2AServer(
        message_queue_size=bus.message_queue_size,
        worker_threads=bus.worker_threads or running,
        max_pending_requests=bus.max_pending_requests or CALLS_PER_TURN * running,
        message_timeout=bus.message_timeout_s,
        circuit_breaker_threshold=bus.circuit_breaker_threshold,
        circuit_breaker_reset_timeout=bus.circuit_breaker_reset_timeout_s,
        carrier=carrier,
        fairness=foundation.gate.fairness,
        clock=foundation.clock,
        metrics=foundation.metrics,
        traces=foundation.traces,
    )


def build_client(config: Config, settings: VertexSettings, foundation: Foundation) -> VertexAIClient:
    vertex = config.vertex
    return VertexAIClient(
        cache_enabled=vertex.cache_enabled,
        cache_ttl=vertex.cache_ttl_s,
        max_cache_size=vertex.max_cache_size,
        connection_pool_size=vertex.connection_pool_size,
        max_retries=vertex.max_retries,
        retry_delay=vertex.retry_delay_s,
        circuit_breaker_threshold=vertex.circuit_breaker_threshold,
        circuit_breaker_timeout=vertex.circuit_breaker_timeout_s,
        settings=settings,
        shared=foundation.shared,
        secrets=foundation.keys,
        clock=foundation.clock,
        metrics=foundation.metrics,
        courtesy=foundation.courtesy,
        traces=foundation.traces,
        pace=foundation.gate.limit,
        fairness=foundation.gate.fairness,
    )


def build_engine(parts: Parts, *, address: str | None, peers: Peers | None) -> TurnEngine:
    turns = parts.config.turns
    return TurnEngine(
        journal=parts.journal,
        team=team_with(parts.team, parts.config),
        ids=parts.ids,
        clock=parts.clock,
        metrics=parts.metrics,
        settings=TurnSettings(
            max_running=turns.max_running,
            max_waiting_per_conversation=turns.max_waiting_per_conversation,
            held_events=turns.held_events,
            unwatched_s=turns.unwatched_s,
            drain_s=parts.config.server.drain_s,
            address=address,
            runs_turns=runs_turns(parts.config),
        ),
        peers=peers,
        shared=parts.foundation.shared,
        modes=parts.foundation.modes,
    )


def build_gatekeeper(parts: Parts, instance: str) -> Gatekeeper:
    foundation = parts.foundation
    return Gatekeeper(
        foundation.gate,
        modes=foundation.modes,
        clock=parts.clock,
        metrics=parts.metrics,
        instance=instance,
        shared=foundation.shared,
        peers=foundation.peer_loads,
        runs_turns=runs_turns(parts.config),
    )


def build_sweeper(parts: Parts, instance: str) -> Sweeper:
    return Sweeper(
        parts.journal,
        parts.clock,
        instance=instance,
        interval_s=parts.config.journal.cleanup_interval_s,
        retention=retention_of(parts.config),
        metrics=parts.metrics,
        orphans=parts.objects.sweep_orphans if parts.objects is not None else None,
    )


def peer_signature(parts: Parts) -> PeerSignature | None:
    """None where there can be no other instance."""
    return PeerSignature(parts.foundation.keys, parts.clock) if parts.config.is_on_postgres else None


def build_entrance(parts: Parts) -> Entrance:
    return Entrance(
        parts.foundation.modes,
        parts.foundation.gate,
        metrics=parts.metrics,
        limits=parts.governance.limits,
        budgets=parts.governance.turn_budgets,
    )


def build_gateway(
    parts: Parts,
    engine: TurnEngine,
    *,
    drain: Drain,
    exposition: Exposition | None,
    entrance: Entrance,
    batches: BatchDesk,
) -> GatewayDeps:
    return GatewayDeps(
        engine=engine,
        journal=parts.journal,
        ids=parts.ids,
        clock=parts.clock,
        metrics=parts.metrics,
        exposition=exposition,
        team=team_with(parts.team, parts.config),
        a2a=a2a_settings(parts.config, parts.foundation.keys),
        guard=outbox_guard(parts.config),
        modes=parts.foundation.modes,
        mode_switch=parts.governance.mode_switch,
        entrance=entrance,
        batches=batches,
        webhooks=webhook_desk(parts.config, parts.foundation),
        controls=parts.governance.controls,
        key_uses=parts.governance.key_uses,
        journal_mode=partial(_journal_mode, parts.failover),
        ready=lambda: not drain.is_leaving,
        model_name=parts.choice.settings.model if parts.choice.settings else "template",
        peer_signature=peer_signature(parts),
        own_load=partial(told_load, parts.foundation.gate, engine.instance) if runs_turns(parts.config) else None,
        forget_answers=partial(_forget_answers, parts.client),
        console=create_console(),
    )


def _journal_mode(failover: FailoverJournal | None) -> str:
    return "normal" if failover is None else failover.mode


async def _forget_answers(client: VertexAIClient | None, owner: Owner) -> int:
    return 0 if client is None else await client.erase_user(cache_user(owner))


def gateway_settings(config: Config) -> GatewaySettings:
    auth = config.auth
    return GatewaySettings(
        cors_origins=config.edge.cors_origins,
        serves_callers=takes_turns(config),
        max_body_bytes=config.server.max_body_bytes,
        attachments_bytes=config.blobs.user_bytes,
        max_batch_bytes=config.batches.max_body_bytes,
        max_schedules=config.turns.max_schedules,
        max_webhooks=config.outbox.max_webhooks,
        max_streams=config.edge.max_streams_per_user,
        auth=AuthSettings(
            mode=auth.mode,
            jwt_secret=auth.jwt_secret,
            jwks_url=auth.jwks_url,
            audience=auth.jwt_audience,
            issuer=auth.jwt_issuer,
            leeway_s=auth.jwt_leeway_s,
            token_memory_s=auth.token_memory_s,
            token_life_s=auth.jwt_max_life_s,
        ),
    )
