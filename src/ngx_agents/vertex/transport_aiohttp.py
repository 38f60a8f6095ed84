"""The second transport: aiohttp, HTTP/1.1, no threads. One call per connection; one whose call failed is closed."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, ModelError, ModelProtocolError, ModelTimeout, ModelUnavailable
from ngx_agents.vertex.pool import Pool, PoolBounds
from ngx_agents.vertex.transport import ConnectionSettings, PostCall, Posted, PostStream

CONNECT_TIMEOUT_S = 10.0
MAX_BYTES_AT_ONCE = 512 * 1024
DEFAULT_CONNECTIONS = ConnectionSettings()


class AiohttpTransport:
    """`connection_pool_size` bounds the connections to each origin, and so the calls at once."""

    def __init__(
        self,
        *,
        connection_pool_size: int,
        clock: Clock,
        on_wait: Callable[[float], None],
        connections: ConnectionSettings = DEFAULT_CONNECTIONS,
    ) -> None:
        self._size = connection_pool_size
        self._connections = connections
        self._clock = clock
        self._on_wait = on_wait
        self._tls: ssl.SSLContext | None = None
        self._pools: dict[str, Pool[aiohttp.ClientSession]] = {}
        self._closing: list[aiohttp.ClientSession] = []

    async def __aenter__(self) -> Self:
        """Raises ConfigError when `ca_file` cannot be read."""
        self._tls = _context(self._connections.ca_file)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()
        sessions, self._closing = self._closing, []
        for session in sessions:
            await session.close()

    async def post(self, call: PostCall) -> Posted:
        async with self._answer(call) as response:
            parts = [chunk async for chunk in self._chunks(response)]
            return Posted(response.status, parts[0] if len(parts) == 1 else b"".join(parts), response.headers.get)

    def stream(self, call: PostCall) -> AbstractAsyncContextManager[PostStream]:
        return self._stream(call)

    @asynccontextmanager
    async def _stream(self, call: PostCall) -> AsyncGenerator[PostStream]:
        async with self._answer(call) as response:
            yield PostStream(response.status, response.headers.get, self._chunks(response))

    @asynccontextmanager
    async def _answer(self, call: PostCall) -> AsyncGenerator[aiohttp.ClientResponse]:
        pool = self._pools.get(call.origin) or self._open(call.origin)
        slot = pool.take() or await pool.wait(call.deadline_s)
        try:
            left_s = call.deadline_s - self._clock.monotonic_s()
            if left_s <= 0:
                raise ModelTimeout("the deadline passed before the model was called")
            response = await self._begin(slot.carrier, call, left_s)
            try:
                yield response
            finally:
                response.release() if response.content.at_eof() else response.close()
        finally:
            pool.give_back(slot)

    async def _begin(self, session: aiohttp.ClientSession, call: PostCall, left_s: float) -> aiohttp.ClientResponse:
        timeout = aiohttp.ClientTimeout(total=left_s, connect=CONNECT_TIMEOUT_S)
        url = URL(call.origin + call.path, encoded=True)
        try:
            return await session.request(
                call.method,
                url,
                data=_payload(call.body) if call.body else None,
                headers=call.headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise _translated(exc) from exc

    async def _chunks(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        left_bytes = self._connections.max_body_bytes
        try:
            async for chunk in response.content.iter_any():
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    most = self._connections.max_body_bytes
                    raise ModelProtocolError(f"the model's answer is larger than {most} bytes")
                yield chunk
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise _translated(exc) from exc

    def _open(self, origin: str) -> Pool[aiohttp.ClientSession]:
        bounds = PoolBounds(max_slots=1, calls_per_slot=self._size)  # aiohttp closes what is idle
        pool = self._pools[origin] = Pool(
            self._new_session, self._closing.append, bounds=bounds, clock=self._clock, on_wait=self._on_wait
        )
        return pool

    def _new_session(self) -> aiohttp.ClientSession:
        tls = self._tls or True
        connector = aiohttp.TCPConnector(limit=0, limit_per_host=0, keepalive_timeout=self._connections.idle_s, ssl=tls)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


def _context(ca_file: str | None) -> ssl.SSLContext | None:
    """The system's authorities and those of `ca_file`; None for the library's default."""
    if ca_file is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(cafile=ca_file)
    except OSError as exc:
        raise ConfigError(f"ca_file {ca_file} is no readable PEM bundle of certificates") from exc
    return context


def _payload(body: bytes) -> bytes | io.BytesIO:
    """aiohttp writes big bytes in one go and warns of it; from a file object it writes them in pieces."""
    return io.BytesIO(body) if len(body) > MAX_BYTES_AT_ONCE else body


def _translated(error: Exception) -> ModelError:
    # a refused or unroutable address is no timeout, whatever class it comes in
    if isinstance(error, TimeoutError | asyncio.TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return ModelTimeout("the model did not answer in time")
    return ModelUnavailable("the connection to the model failed")
