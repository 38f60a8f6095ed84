"""The model client: one request in, a reply or a stream of events out, over whichever provider and transport is set.

Constructing does nothing; entering starts it, leaving ends every call still open. Errors are of `errors.ModelError`.
A call refused with 401 is sent once more with fresh credentials; nothing else is repeated here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock, SystemClock
from ngx_agents.errors import ConfigError, ModelAuthError, ModelError
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import ModelReply, ModelRequest, StreamEnd, StreamEvent, TextChunk
from ngx_agents.vertex.credentials import Credentials, GoogleCredentials, credentials_for, settings_from_environment
from ngx_agents.vertex.dialects.dialect import Dialect
from ngx_agents.vertex.dialects.openai import OpenAIDialect
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.endpoint import Endpoint
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.refusal import error_of_status
from ngx_agents.vertex.settings import VertexSettings
from ngx_agents.vertex.transport import PostCall, Posted, PostStream, Transport

MAX_ERROR_BYTES = 1024 * 1024
CHARACTERS_PER_TOKEN = 4


class VertexAIClient:
    """`connection_pool_size` bounds the connections to the endpoint. Without `settings` the environment decides."""

    def __init__(
        self,
        *,
        connection_pool_size: int = 50,
        settings: VertexSettings | None = None,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        self._size = connection_pool_size
        self._given = settings
        self._clock = clock or SystemClock()
        self._measures = ModelMeasures(metrics or Metrics())
        self._courtesy = courtesy or Courtesy()
        self._running: _Running | None = None

    async def __aenter__(self) -> Self:
        """Raises ConfigError when the settings cannot be used."""
        if self._size < 1:
            raise ConfigError("connection_pool_size must be at least 1")
        settings = self._given or settings_from_environment()
        transport = _transport(settings, self._size, self._clock, self._courtesy, self._measures)
        running = _Running(settings, transport, self._clock)
        await transport.__aenter__()
        self._running = running
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        running, self._running = self._running, None
        if running is not None:
            await running.transport.__aexit__(kind, error, trace)

    @property
    def settings(self) -> VertexSettings:
        """The settings in force; entering the client decides them."""
        return self._in_force.settings

    async def generate(self, request: ModelRequest) -> ModelReply:
        """The whole answer. Raises ModelError."""
        running = self._in_force
        began_s = self._clock.monotonic_s()
        try:
            model = request.model or running.settings.model
            body = running.dialect.encode(request, model=model, streams=False)
            posted = await running.post(model, "generateContent", body, request.deadline_s)
            reply = running.dialect.decode(posted.body, model=model)
        except (ModelError, asyncio.CancelledError) as exc:
            self._measures.failed(exc)
            raise
        self._measures.answered(reply.usage, self._clock.monotonic_s() - began_s)
        return reply

    async def stream(self, request: ModelRequest) -> AsyncGenerator[StreamEvent]:
        """Text as it arrives, then one StreamEnd. Closing it, or cancelling its reader, closes the call upstream.

        Raises ModelError, ModelUnavailable when the stream ends before the answer is complete.
        """
        running = self._in_force
        began_s = self._clock.monotonic_s()
        try:
            model = request.model or running.settings.model
            body = running.dialect.encode(request, model=model, streams=True)
            reader = running.dialect.reader(model=model)
            is_first = True
            async with running.stream(model, body, request.deadline_s) as answer:
                async for chunk in answer.chunks:
                    for text in reader.feed(chunk):
                        if is_first:
                            is_first = False
                            self._measures.first_token.observe(self._clock.monotonic_s() - began_s)
                        yield TextChunk(text)
            reply = reader.finish()
        except (ModelError, asyncio.CancelledError, GeneratorExit) as exc:
            self._measures.failed(exc)
            raise
        self._measures.answered(reply.usage, self._clock.monotonic_s() - began_s)
        yield StreamEnd(reply)

    async def count_tokens(self, request: ModelRequest) -> int:
        """Tokens of the prompt. Providers that cannot count are estimated at four characters to a token."""
        running = self._in_force
        model = request.model or running.settings.model
        body = running.dialect.encode(request, model=model, streams=False)
        if not isinstance(running.dialect, VertexDialect):
            return -(-len(body) // CHARACTERS_PER_TOKEN)
        posted = await running.post(model, "countTokens", body, request.deadline_s)
        return running.dialect.decode_count(posted.body)

    @property
    def _in_force(self) -> _Running:
        if self._running is None:
            raise RuntimeError("the client is used outside of its context: async with VertexAIClient() as client")
        return self._running


class _Running:
    """What a started client works with."""

    def __init__(self, settings: VertexSettings, transport: Transport, clock: Clock) -> None:
        self.settings = settings
        self.transport = transport
        self.dialect: Dialect = OpenAIDialect() if settings.provider == "openai" else VertexDialect(settings.location)
        self._clock = clock
        self._credentials: Credentials = credentials_for(settings, clock)
        self._project = settings.project
        self._endpoint = Endpoint(settings, settings.project)

    async def post(self, model: str, operation: str, body: bytes, deadline_s: float) -> Posted:
        """The answer, if it is 200. Raises ModelError."""
        headers = self._credentials.ready() or await self._credentials.headers(deadline_s)
        posted = await self.transport.post(self._call(model, operation, headers, body, deadline_s))
        if posted.status == 401 and self._credentials.reject(headers):
            headers = await self._credentials.headers(deadline_s)
            posted = await self.transport.post(self._call(model, operation, headers, body, deadline_s))
        if posted.status != 200:
            raise self._refused(posted.status, posted.body, posted.header("retry-after"))
        return posted

    @asynccontextmanager
    async def stream(self, model: str, body: bytes, deadline_s: float) -> AsyncIterator[PostStream]:
        """The answer, if it is 200. Raises ModelError."""
        operation = "streamGenerateContent?alt=sse"
        for is_last in (False, True):
            headers = self._credentials.ready() or await self._credentials.headers(deadline_s)
            call = self._call(model, operation, headers, body, deadline_s)
            async with self.transport.stream(call) as answer:
                if answer.status == 200:
                    yield answer
                    return
                refusal = await _bounded(answer.chunks)
                retry_after = answer.header("retry-after")
            if answer.status != 401 or is_last or not self._credentials.reject(headers):
                raise self._refused(answer.status, refusal, retry_after)

    def _call(self, model: str, operation: str, headers: Mapping[str, str], body: bytes, deadline_s: float) -> PostCall:
        endpoint = self._endpoint
        if self.settings.provider == "openai":
            path = endpoint.chat_path()
        else:
            if self._project is None and isinstance(self._credentials, GoogleCredentials):
                endpoint = self._endpoint = self._endpoint_of(self._credentials.project)
            path = endpoint.model_path(model, operation)
        return PostCall(endpoint.origin, path, headers, body, deadline_s)

    def _endpoint_of(self, project: str | None) -> Endpoint:
        if project is None:
            raise ModelAuthError("no Google Cloud project is set, and the credentials name none")
        self._project = project
        return Endpoint(self.settings, project)

    def _refused(self, status: int, body: bytes, retry_after: str | None) -> ModelError:
        return error_of_status(status, body, retry_after=retry_after, now_s=self._clock.now_s())


async def _bounded(chunks: AsyncIterator[bytes]) -> bytes:
    """The body of a refusal, as far as it is worth reading."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > MAX_ERROR_BYTES:
            break
    return bytes(body)


def _transport(
    settings: VertexSettings, size: int, clock: Clock, courtesy: Courtesy, measures: ModelMeasures
) -> Transport:
    on_wait = measures.waited.observe
    if settings.transport == "aiohttp":
        from ngx_agents.vertex.transport_aiohttp import AiohttpTransport

        return AiohttpTransport(connection_pool_size=size, clock=clock, on_wait=on_wait)
    from ngx_agents.vertex.transport_pyreqwest import PyreqwestTransport

    return PyreqwestTransport(
        connection_pool_size=size, http2=settings.http2, clock=clock, courtesy=courtesy, on_wait=on_wait
    )
