"""The model client: one request in, a reply or a stream of events out, by whatever can answer within the deadline.

Constructing does nothing; entering starts it, leaving ends every call still open. Errors are of `errors.ModelError`.
What lies between a request and the wire, and in which order: `docs/decisions/0009-model-client.md`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock, Rng, SystemClock
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import ModelError
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces
from ngx_agents.vertex.assembly import Assembly, ClientLimits, Surroundings, assembled
from ngx_agents.vertex.content import ModelReply, ModelRequest, StreamEnd, StreamEvent, TextChunk
from ngx_agents.vertex.credentials import settings_from_environment
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.embedding import Embeddings, EmbedRequest
from ngx_agents.vertex.measures import ModelMeasures, Pace
from ngx_agents.vertex.recorder import Recorder
from ngx_agents.vertex.settings import VertexSettings

CHARACTERS_PER_TOKEN = 4


class VertexAIClient:
    """Vertex AI with a pool, a cache, retries, a breaker, a governor, and something to fall back on.

    `cache_ttl` (seconds) holds for the query class `general`; `max_cache_size` counts entries; `connection_pool_size`
    bounds the connections to each location; `max_retries` is for batch work, more urgent calls stop at 2;
    `retry_delay` (seconds) is the base of full jitter; a breaker opens at `circuit_breaker_threshold` calls of which
    half failed, for `circuit_breaker_timeout` seconds. Without `settings` the environment decides. `shared` is what
    instances share, opened and closed by the caller; it is used when `secrets`, the same on all of them, are given.
    `pace` hears how fast the model is, `fairness` says which tenant's call is next.
    """

    def __init__(  # noqa: PLR0913  # the specification's constructor, and the client's surroundings
        self,
        *,
        cache_enabled: bool = True,
        cache_ttl: float = 3600,
        max_cache_size: int = 10_000,
        connection_pool_size: int = 50,
        max_retries: int = 5,
        retry_delay: float = 1.0,
        circuit_breaker_threshold: int = 10,
        circuit_breaker_timeout: float = 30,
        settings: VertexSettings | None = None,
        shared: Shared | None = None,
        secrets: Sequence[bytes] = (),
        clock: Clock | None = None,
        rng: Rng | None = None,
        metrics: Metrics | None = None,
        courtesy: Courtesy | None = None,
        traces: Traces | None = None,
        pace: Pace | None = None,
        fairness: Fairness | None = None,
    ) -> None:
        self._limits = ClientLimits(
            cache_enabled=cache_enabled,
            cache_ttl_s=cache_ttl,
            max_cache_entries=max_cache_size,
            connection_pool_size=connection_pool_size,
            max_retries=max_retries,
            retry_delay_s=retry_delay,
            breaker_calls=circuit_breaker_threshold,
            breaker_open_s=circuit_breaker_timeout,
        )
        self._given = settings
        self._clock = clock or SystemClock()
        metrics = metrics or Metrics()
        self._measures = ModelMeasures(metrics, pace=pace)
        self._around = Surroundings(
            clock=self._clock,
            rng=rng or Rng(),
            metrics=metrics,
            measures=self._measures,
            courtesy=courtesy or Courtesy(),
            shared=shared,
            secrets=tuple(secrets),
            fairness=fairness,
        )
        self._traces = traces or Traces()
        self._stack = AsyncExitStack()
        self._assembly: Assembly | None = None
        self._recorder: Recorder | None = None

    async def __aenter__(self) -> Self:
        """Raises ConfigError when the settings cannot be used."""
        settings = self._given or settings_from_environment()
        self._assembly = await self._stack.enter_async_context(assembled(settings, self._limits, self._around))
        self._recorder = Recorder(settings, self._measures, self._traces, self._clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._assembly = self._recorder = None
        await self._stack.aclose()

    @property
    def settings(self) -> VertexSettings:
        """The settings in force; entering the client decides them."""
        return self._in_force.settings

    @property
    def breakers(self) -> dict[tuple[str, str], BreakerState]:
        """What the next call of each (location, model) asked so far meets."""
        return {(location, model): each.state for (location, model, _), each in self._in_force.ways.breakers.items()}

    async def generate(self, request: ModelRequest) -> ModelReply:
        """The whole answer. Raises ModelError."""
        answering = self._in_force.answering
        record = self._records.begin(request, streams=False)
        try:
            reply = await answering.reply(request)
        except (ModelError, asyncio.CancelledError) as exc:
            record.failed(exc)
            raise
        record.answered(reply)
        return reply

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamEvent]:
        """TextChunk as text arrives, TextReset when all before is withdrawn, one StreamEnd at the end.

        Closing it, or cancelling its reader, closes the call upstream unless another caller reads it too.
        Raises ModelError: before the first text, or after it when nothing could begin it anew or go on.
        """
        answering = self._in_force.answering
        record = self._records.begin(request, streams=True)
        try:
            async with aclosing(answering.events(request)) as events:
                async for event in events:
                    if isinstance(event, TextChunk):
                        record.text_came(event.text)
                    elif isinstance(event, StreamEnd):
                        record.answered(event.reply)
                    yield event
        except (ModelError, asyncio.CancelledError, GeneratorExit) as exc:
            record.failed(exc)
            raise

    async def embed(self, request: EmbedRequest) -> Embeddings:
        """One vector for each text, in their order; equal texts are asked for once. Raises ModelError."""
        assembly = self._in_force
        record = self._records.begin_embedding(request)
        try:
            ways = assembly.ways.for_embedding(request.model, assembly.settings.residency)
            made = await assembly.embedder.embed(request, ways)
        except (ModelError, asyncio.CancelledError) as exc:
            record.failed(exc)
            raise
        record.answered(made)
        return made

    async def count_tokens(self, request: ModelRequest) -> int:
        """Tokens of the prompt. Providers that cannot count are estimated at four characters to a token."""
        top = self._in_force.top
        model = request.model or self.settings.model
        if not isinstance(top.dialect, VertexDialect):
            body = top.dialect.encode(request, model=model, streams=False)
            return -(-len(body) // CHARACTERS_PER_TOKEN)
        body = top.dialect.encode_count(request, model=model)
        posted = await top.post(model, "countTokens", body, request.deadline_s)
        return top.dialect.decode_count(posted.body)

    async def erase_user(self, user_id: str) -> int:
        """How many kept answers of the scope `User(user_id)` were erased. Raises SharedUnavailable: to be repeated."""
        return await self._in_force.cache.erase_user(user_id)

    @property
    def _in_force(self) -> Assembly:
        if self._assembly is None:
            raise RuntimeError("the client is used outside of its context: async with VertexAIClient() as client")
        return self._assembly

    @property
    def _records(self) -> Recorder:
        assert self._recorder is not None, "made together with the assembly"
        return self._recorder
