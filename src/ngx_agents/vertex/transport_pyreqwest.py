"""The default transport: pyreqwest (Rust), HTTP/2 where the peer speaks it.

One pyreqwest client holds one HTTP/2 connection and queues silently above the peer's stream limit, so the pool is
made of clients and keeps to that limit (`origins`). Over HTTP/1.1 one client holds all the connections, one call each;
the library drops one whose call failed. Every call is announced to `Courtesy` from its hand-over to its end.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from pyreqwest.client import Client
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import StreamRequest
from pyreqwest.response import Response

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelError, ModelProtocolError, ModelTimeout, ModelUnavailable
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.origins import Origins
from ngx_agents.vertex.pool import Pool, Slot
from ngx_agents.vertex.strays import Strays, Unbroken
from ngx_agents.vertex.transport import ConnectionSettings, Http2, PostCall, Posted, PostStream

READ_AHEAD_BYTES = 64 * 1024  # of a whole answer, before the loop hears of it: most answers are one hand-over
MIN_TIMEOUT_S = 0.001
DEFAULT_CONNECTIONS = ConnectionSettings()


class PyreqwestTransport:
    """`connection_pool_size` bounds the connections to each origin."""

    def __init__(
        self,
        *,
        connection_pool_size: int,
        http2: Http2,
        clock: Clock,
        courtesy: Courtesy,
        on_wait: Callable[[float], None],
        connections: ConnectionSettings = DEFAULT_CONNECTIONS,
    ) -> None:
        self._clock = clock
        self._courtesy = courtesy
        self._max_body_bytes = connections.max_body_bytes
        self._strays = Strays()
        self._origins = Origins(
            connections,
            http2=http2,
            connection_pool_size=connection_pool_size,
            clock=clock,
            on_wait=on_wait,
            strays=self._strays,
        )

    async def __aenter__(self) -> Self:
        """Raises ConfigError when `ca_file` cannot be read."""
        self._origins.load()
        await self._strays.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._origins.clear()
        await self._strays.close()

    async def post(self, call: PostCall) -> Posted:
        place = await self._take(call)
        self._courtesy.begin()
        try:
            request = self._request(place, call, READ_AHEAD_BYTES)
            response = await self._begin(request, place)
            try:
                body = await self._whole(response, place)
            except BaseException:
                await request.__aexit__(None, None, None)
                raise
        finally:
            self._courtesy.end()
            place.leave()
        return Posted(response.status, body, response.get_header)

    def stream(self, call: PostCall) -> AbstractAsyncContextManager[PostStream]:
        return self._stream(call)

    @asynccontextmanager
    async def _stream(self, call: PostCall) -> AsyncGenerator[PostStream]:
        place = await self._take(call)
        self._courtesy.begin()
        try:
            request = self._request(place, call, 0)  # or the first chunk would wait for as many bytes
            response = await self._begin(request, place)
            try:
                yield PostStream(response.status, response.get_header, self._chunks(response, place))
            finally:
                await request.__aexit__(None, None, None)
        finally:
            self._courtesy.end()
            place.leave()

    async def _begin(self, request: StreamRequest, place: _Place) -> Response:
        try:
            response = await Unbroken(request.__aenter__(), lambda sent: self._abandon(sent, place, request))
        except PyreqwestError as exc:
            place.failed()
            raise _translated(exc) from exc
        place.answered()
        return response

    async def _whole(self, response: Response, place: _Place) -> bytes:
        length = response.get_header("content-length")
        if length is None or not length.isdigit() or int(length) > self._max_body_bytes:
            return b"".join([chunk async for chunk in self._chunks(response, place)])
        try:
            return (await response.bytes()).to_bytes()
        except PyreqwestError as exc:
            place.failed()
            raise _translated(exc) from exc

    async def _chunks(self, response: Response, place: _Place) -> AsyncIterator[bytes]:
        read_chunk = response.body_reader.read_chunk
        left_bytes = self._max_body_bytes
        try:
            while (chunk := await read_chunk()) is not None:
                data = chunk.to_bytes()
                left_bytes -= len(data)
                if left_bytes < 0:
                    raise ModelProtocolError(f"the model's answer is larger than {self._max_body_bytes} bytes")
                yield data
        except PyreqwestError as exc:
            place.failed()
            raise _translated(exc) from exc

    def _abandon(self, sent: Awaitable[Response], place: _Place, request: StreamRequest) -> None:
        place.is_taken_along = True
        self._strays.adopt(_see_out(sent, place, request))

    async def _take(self, call: PostCall) -> _Place:
        pool = self._origins.ready(call.origin) or await self._origins.open(call.origin, call.deadline_s)
        return _Place(pool, pool.take() or await pool.wait(call.deadline_s))

    def _request(self, place: _Place, call: PostCall, read_ahead_bytes: int) -> StreamRequest:
        left_s = call.deadline_s - self._clock.monotonic_s()
        if left_s < MIN_TIMEOUT_S:
            raise ModelTimeout("the deadline passed before the model was called")
        builder = place.client.request(call.method, call.origin + call.path).headers(call.headers)
        if call.body:
            builder = builder.body_bytes(call.body)
        builder = builder.timeout(timedelta(seconds=left_s))
        return builder.streamed_read_buffer_limit(read_ahead_bytes).build_streamed()


class _Place:
    """A slot held by one call; a call that goes on as a stray takes it along."""

    __slots__ = ("_pool", "_slot", "client", "is_taken_along")

    def __init__(self, pool: Pool[Client], slot: Slot[Client]) -> None:
        self._pool = pool
        self._slot = slot
        self.client = slot.carrier
        self.is_taken_along = False

    def answered(self) -> None:
        self._slot.failures = 0

    def failed(self) -> None:
        self._pool.failed(self._slot)

    def leave(self) -> None:
        if not self.is_taken_along:
            self._pool.give_back(self._slot)


async def _see_out(sent: Awaitable[Response], place: _Place, request: StreamRequest) -> None:
    """Waits until an abandoned call is answered or fails, closes the answer, frees the place."""
    try:
        await sent
        place.answered()
        await request.__aexit__(None, None, None)
    except PyreqwestError:
        place.failed()
    finally:
        place.is_taken_along = False
        place.leave()


def _translated(error: PyreqwestError) -> ModelError:
    if isinstance(error, TimeoutError):
        return ModelTimeout("the model did not answer in time")
    return ModelUnavailable("the connection to the model failed")
