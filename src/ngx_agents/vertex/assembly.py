"""What a started client is made of: transport, credentials, targets, rungs, ways, cache, flights; and in which order
they start and stop."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import ConfigError
from ngx_agents.resilience.breaker import BreakerRules
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.governor import GovernorRules
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.answering import Answering, Keeping
from ngx_agents.vertex.cache.answers import AnswerCache, CacheLimits
from ngx_agents.vertex.cache.rules import CacheRules
from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.provider import ContextTarget
from ngx_agents.vertex.credentials import Credentials, credentials_for
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.embedder import Embedder
from ngx_agents.vertex.flights import Flights
from ngx_agents.vertex.governors import Governors
from ngx_agents.vertex.ladder.descent import RetryLimits
from ngx_agents.vertex.ladder.ladder import Ladder
from ngx_agents.vertex.ladder.rungs import Rung, rungs_of
from ngx_agents.vertex.ladder.target import Target
from ngx_agents.vertex.ladder.way import Way, WaysShare
from ngx_agents.vertex.ladder.ways import Ways
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.quota import Quotas
from ngx_agents.vertex.settings import VertexSettings
from ngx_agents.vertex.transport import ConnectionSettings, Method, Transport

MAX_IN_FLIGHT = 20_000  # per lane; what bounds it in practice is the pool
RAMP_FLOOR_PER_S = 500.0  # calls that may always start: more than one process is usually given


class ClientLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of the client's constructor. Raises ConfigError when one makes no sense."""

    cache_enabled: bool = True
    cache_ttl_s: float = 3600.0
    max_cache_entries: int = 10_000
    connection_pool_size: int = 50
    max_retries: int = 5
    retry_delay_s: float = 1.0
    breaker_calls: int = 10
    breaker_open_s: float = 30.0

    def check(self) -> None:
        least = {
            "max_cache_size": (self.max_cache_entries, 1),
            "connection_pool_size": (self.connection_pool_size, 1),
            "max_retries": (self.max_retries, 0),
            "retry_delay": (self.retry_delay_s, 0),
            "circuit_breaker_threshold": (self.breaker_calls, 1),
        }
        for name, (value, bound) in least.items():
            if not value >= bound:
                raise ConfigError(f"{name} must be at least {bound}")
        if not self.breaker_open_s > 0:
            raise ConfigError("circuit_breaker_timeout must be more than 0")


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is given by its house: time, chance, where it counts, what it shares with other instances."""

    clock: Clock
    rng: Rng
    metrics: Metrics
    measures: ModelMeasures
    courtesy: Courtesy
    shared: Shared | None
    secrets: tuple[bytes, ...]
    fairness: Fairness | None = None


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    """A client's parts, started. `top` is where the first rung goes."""

    settings: VertexSettings
    answering: Answering
    embedder: Embedder
    cache: AnswerCache
    top: Target
    ways: Ways
    governors: Governors


@asynccontextmanager
async def assembled(settings: VertexSettings, limits: ClientLimits, around: Surroundings) -> AsyncIterator[Assembly]:
    """Raises ConfigError when the settings cannot be used."""
    limits.check()
    targets = _Targets(settings, _transport(settings, limits, around), around.clock)
    governors = Governors(
        GovernorRules(max_in_flight=MAX_IN_FLIGHT, ramp_floor_per_s=RAMP_FLOOR_PER_S),
        clock=around.clock,
        metrics=around.metrics,
        fairness=around.fairness,
        took=around.measures.pace.permit_took if around.measures.pace is not None else None,
    )
    contexts = Contexts(settings.contexts, targets.context_call, clock=around.clock)
    make_ways = partial(
        Ways,
        breaker_rules=_breaker_rules(limits),
        governors=governors,
        quotas=_quotas(settings, around),
        shared=WaysShare(contexts=contexts, measures=around.measures),
        rng=around.rng,
    )
    ways = make_ways(rungs_of(settings, targets.at))
    local: tuple[Way, ...] = ()
    if settings.local_url is not None and settings.provider != "openai":
        local_rung = Rung(name="local", target=targets.local())
        local = make_ways((local_rung,)).for_model(settings.local_model, "any")
    cache = AnswerCache(
        around.secrets or (secrets.token_bytes(32),),
        clock=around.clock,
        metrics=around.metrics,
        rules=CacheRules(ttl_s=limits.cache_ttl_s),
        limits=CacheLimits(max_entries=limits.max_cache_entries),
        shared=around.shared if around.secrets else None,
    )
    flights = Flights(clock=around.clock, metrics=around.metrics)
    retries = RetryLimits(max_retries=limits.max_retries, base_s=limits.retry_delay_s)
    ladder = Ladder(retries, clock=around.clock, rng=around.rng, measures=around.measures)
    answering = Answering(
        ladder,
        ways,
        local,
        keeping=Keeping(cache=cache, flights=flights, is_on=limits.cache_enabled),
        settings=settings,
    )
    async with targets.transport, contexts, flights:
        yield Assembly(
            settings=settings,
            answering=answering,
            embedder=Embedder(ladder, cache=cache, keeps=limits.cache_enabled),
            cache=cache,
            top=targets.at(settings.location),
            ways=ways,
            governors=governors,
        )


class _Targets:
    """Targets by location, made once: they share one transport, and Google's locations one credential."""

    def __init__(self, settings: VertexSettings, transport: Transport, clock: Clock) -> None:
        self.transport = transport
        self._settings = settings
        self._clock = clock
        self._credentials: Credentials = credentials_for(settings, clock)
        self._made: dict[str, Target] = {}

    def at(self, location: str) -> Target:
        target = self._made.get(location)
        if target is None:
            settings = msgspec.structs.replace(self._settings, location=location)
            target = self._made[location] = self._target(settings, self._credentials)
        return target

    def local(self) -> Target:
        settings = VertexSettings(
            provider="openai", openai_url=self._settings.local_url, api_key=self._settings.local_key
        )
        return self._target(settings, credentials_for(settings, self._clock))

    async def context_call(
        self, target: ContextTarget, path: str, *, method: Method, body: bytes, deadline_s: float
    ) -> bytes:
        """What contexts ask of a location. Raises ModelError."""
        return await self.at(target.location).resource(path, method=method, body=body, deadline_s=deadline_s)

    def _target(self, settings: VertexSettings, credentials: Credentials) -> Target:
        dialect = OpenAIDialect() if settings.provider == "openai" else VertexDialect(settings.location)
        return Target(settings, dialect, transport=self.transport, credentials=credentials, clock=self._clock)


def _breaker_rules(limits: ClientLimits) -> BreakerRules:
    return BreakerRules(
        min_calls=limits.breaker_calls,
        open_s=limits.breaker_open_s,
        max_open_s=max(60.0, 2 * limits.breaker_open_s),
    )


def _quotas(settings: VertexSettings, around: Surroundings) -> Quotas:
    """Kept by all instances together where they share something, else by this one alone."""
    return Quotas(
        settings.quota,
        shared=around.shared or LocalShared(around.clock),
        clock=around.clock,
        metrics=around.metrics,
        instances=settings.quota_instances,
    )


def _transport(settings: VertexSettings, limits: ClientLimits, around: Surroundings) -> Transport:
    on_wait = around.measures.waited_for_connection
    connections = ConnectionSettings(ca_file=settings.ca_file)
    if settings.transport == "aiohttp":
        from ngx_agents.vertex.transport_aiohttp import AiohttpTransport

        return AiohttpTransport(
            connection_pool_size=limits.connection_pool_size,
            clock=around.clock,
            on_wait=on_wait,
            connections=connections,
        )
    from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport

    return PyreqwestTransport(
        connection_pool_size=limits.connection_pool_size,
        http2=settings.http2,
        clock=around.clock,
        courtesy=around.courtesy,
        on_wait=on_wait,
        connections=connections,
    )
