"""Where the pieces meet: the one place that chooses implementations, from the configuration and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.app.config_sections import Config
from ngx_agents.clock import Clock, Rng, SystemClock
from ngx_agents.console.application import create_console
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Source
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.settings import TurnSettings
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.credentials import has_credentials
from ngx_agents.vertex.settings import VertexSettings

log = event_log("app")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What answers: `settings` None means templates; `source` is the label of its answers; `label` is for people."""

    settings: VertexSettings | None
    source: Source
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The pieces of one server, made and not yet started."""

    config: Config
    clock: Clock
    ids: Ids
    metrics: Metrics
    courtesy: Courtesy
    journal: Journal
    choice: ModelChoice
    client: VertexAIClient | None
    team: CoachingTeam


async def choose_model(config: Config) -> ModelChoice:
    """Vertex when it is configured and credentials are found, else the OpenAI-compatible server, else templates."""
    vertex, lacking = config.vertex, ""
    if vertex.project or vertex.api_key or vertex.base_url:
        settings = VertexSettings(
            project=vertex.project or (None if vertex.api_key else "local"),
            location=vertex.location,
            base_url=vertex.base_url,
            api_key=vertex.api_key,
            model=vertex.model,
            transport=vertex.transport,
            http2=vertex.http2,
        )
        if await has_credentials(settings):
            label = f"{vertex.model} on Vertex AI ({vertex.location})"
            return ModelChoice(settings=settings, source="model", label=label)
        log.warning("model.no_credentials", project=vertex.project)
        lacking = f" (no Google credentials found for project {vertex.project})"
    if config.local.model_url:
        settings = VertexSettings(
            provider="openai",
            openai_url=config.local.model_url,
            model=config.local.model,
            transport=vertex.transport,
        )
        label = f"{config.local.model} at {config.local.model_url}{lacking}"
        return ModelChoice(settings=settings, source="local", label=label)
    return ModelChoice(settings=None, source="template", label=f"none: the agents' own tools fill templates{lacking}")


def build_parts(config: Config, choice: ModelChoice) -> Parts:
    """Raises ConfigError, never touches disk or network."""
    clock = SystemClock()
    metrics = Metrics()
    courtesy = Courtesy()
    client = None
    if choice.settings is not None:
        client = VertexAIClient(
            connection_pool_size=config.vertex.connection_pool_size,
            settings=choice.settings,
            clock=clock,
            metrics=metrics,
            courtesy=courtesy,
        )
    return Parts(
        config=config,
        clock=clock,
        ids=Ids(clock),
        metrics=metrics,
        courtesy=courtesy,
        journal=MemoryTier(SqliteJournal(config.journal_path, courtesy=courtesy)),
        choice=choice,
        client=client,
        team=CoachingTeam(
            model=client,
            clock=clock,
            rng=Rng(),
            metrics=metrics,
            history_tokens=config.turns.history_tokens,
        ),
    )


def build_engine(parts: Parts) -> TurnEngine:
    turns = parts.config.turns
    return TurnEngine(
        journal=parts.journal,
        team=parts.team,
        ids=parts.ids,
        clock=parts.clock,
        metrics=parts.metrics,
        settings=TurnSettings(
            max_running=turns.max_running,
            max_waiting_per_conversation=turns.max_waiting_per_conversation,
            held_events=turns.held_events,
            drain_s=parts.config.server.drain_s,
        ),
    )


def build_gateway(parts: Parts, engine: TurnEngine) -> GatewayDeps:
    return GatewayDeps(
        engine=engine,
        journal=parts.journal,
        ids=parts.ids,
        clock=parts.clock,
        metrics=parts.metrics,
        team=parts.team,
        mode=lambda: "normal",
        ready=lambda: not engine.is_draining,
        model_name=parts.choice.settings.model if parts.choice.settings else "template",
        console=create_console(),
    )


def gateway_settings(config: Config) -> GatewaySettings:
    auth = config.auth
    return GatewaySettings(
        max_body_bytes=config.server.max_body_bytes,
        auth=AuthSettings(
            mode=auth.mode,
            jwt_secret=auth.jwt_secret,
            jwks_url=auth.jwks_url,
            audience=auth.jwt_audience,
            issuer=auth.jwt_issuer,
        ),
    )
