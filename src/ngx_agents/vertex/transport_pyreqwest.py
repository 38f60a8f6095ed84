"""The default transport: pyreqwest (Rust), HTTP/2 where the peer speaks it.

One pyreqwest client holds one HTTP/2 connection and queues silently above the peer's stream limit, so the pool is
made of clients and never puts more than `STREAMS_PER_CONNECTION` calls on one. Over HTTP/1.1 one client holds all the
connections. Every hand-over to its threads is announced to `Courtesy`; a stream only while a chunk is awaited.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from types import TracebackType
from typing import Self

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError
from pyreqwest.request import RequestBuilder, StreamRequest
from pyreqwest.response import Response

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelError, ModelTimeout, ModelUnavailable
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.vertex.pool import Pool, Slot
from ngx_agents.vertex.strays import Strays, Unbroken
from ngx_agents.vertex.transport import Http2, PostCall, Posted, PostStream

STREAMS_PER_CONNECTION = 100  # what Google's front ends and most proxies allow at the least
CONNECT_TIMEOUT_S = 10.0
MIN_TIMEOUT_S = 0.001


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
    ) -> None:
        self._size = connection_pool_size
        self._http2 = http2
        self._clock = clock
        self._courtesy = courtesy
        self._on_wait = on_wait
        self._pools: dict[str, Pool[Client]] = {}
        self._strays = Strays()

    async def __aenter__(self) -> Self:
        await self._strays.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._strays.close()
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            for slot in pool.slots:
                await slot.carrier.close()

    async def post(self, call: PostCall) -> Posted:
        pool = self._pools.get(call.origin) or self._open(call.origin)
        slot = pool.take() or await pool.wait(call.deadline_s)
        place = _Place(pool, slot)
        self._courtesy.begin()
        try:
            request = self._request(slot, call).build()
            response = await Unbroken(request.send(), lambda sent: self._abandon(sent, place))
            body = await response.bytes()
        except PyreqwestError as exc:
            raise _translated(exc) from exc
        finally:
            self._courtesy.end()
            place.leave()
        return Posted(response.status, body.to_bytes(), response.get_header)

    def stream(self, call: PostCall) -> AbstractAsyncContextManager[PostStream]:
        return self._stream(call)

    @asynccontextmanager
    async def _stream(self, call: PostCall) -> AsyncGenerator[PostStream]:
        pool = self._pools.get(call.origin) or self._open(call.origin)
        slot = pool.take() or await pool.wait(call.deadline_s)
        place = _Place(pool, slot)
        try:
            request = self._request(slot, call).streamed_read_buffer_limit(0).build_streamed()
            response = await self._begin(request, place)
            try:
                yield PostStream(response.status, response.get_header, self._chunks(response))
            finally:
                await request.__aexit__(None, None, None)
        finally:
            place.leave()

    async def _begin(self, request: StreamRequest, place: _Place) -> Response:
        try:
            with self._courtesy.work():
                return await Unbroken(request.__aenter__(), lambda sent: self._abandon(sent, place, request))
        except PyreqwestError as exc:
            raise _translated(exc) from exc

    async def _chunks(self, response: Response) -> AsyncIterator[bytes]:
        read_chunk = response.body_reader.read_chunk
        courtesy = self._courtesy
        while True:
            courtesy.begin()
            try:
                chunk = await read_chunk()
            except PyreqwestError as exc:
                raise _translated(exc) from exc
            finally:
                courtesy.end()
            if chunk is None:
                return
            yield chunk.to_bytes()

    def _abandon(self, sent: Awaitable[Response], place: _Place, request: StreamRequest | None = None) -> None:
        place.is_taken_along = True
        self._strays.adopt(_see_out(sent, place, request))

    def _request(self, slot: Slot[Client], call: PostCall) -> RequestBuilder:
        left_s = call.deadline_s - self._clock.monotonic_s()
        if left_s < MIN_TIMEOUT_S:
            raise ModelTimeout("the deadline passed before the model was called")
        builder = slot.carrier.post(call.origin + call.path).headers(call.headers)
        return builder.body_bytes(call.body).timeout(timedelta(seconds=left_s))

    def _open(self, origin: str) -> Pool[Client]:
        multiplexed = self._http2 == "prior_knowledge" or (self._http2 == "auto" and origin.startswith("https:"))
        pool = self._pools[origin] = Pool(
            self._new_client,
            max_slots=self._size if multiplexed else 1,
            calls_per_slot=STREAMS_PER_CONNECTION if multiplexed else self._size,
            clock=self._clock,
            on_wait=self._on_wait,
        )
        return pool

    def _new_client(self) -> Client:
        builder = (
            ClientBuilder().no_proxy().follow_redirects(False).connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
        )
        if self._http2 == "prior_knowledge":
            return builder.http2_prior_knowledge().http2_adaptive_window(True).build()
        if self._http2 == "off":
            return builder.http1_only().build()
        return builder.http2(True).http2_adaptive_window(True).build()


class _Place:
    """A slot held by one call; a call that goes on as a stray takes it along."""

    __slots__ = ("_pool", "_slot", "is_taken_along")

    def __init__(self, pool: Pool[Client], slot: Slot[Client]) -> None:
        self._pool = pool
        self._slot = slot
        self.is_taken_along = False

    def leave(self) -> None:
        if not self.is_taken_along:
            self._pool.give_back(self._slot)


async def _see_out(sent: Awaitable[Response], place: _Place, request: StreamRequest | None = None) -> None:
    """Waits until an abandoned call is answered or fails, closes the answer, frees the place."""
    try:
        await sent
        if request is not None:
            await request.__aexit__(None, None, None)
    except PyreqwestError:
        pass
    finally:
        place.is_taken_along = False
        place.leave()


def _translated(error: PyreqwestError) -> ModelError:
    if isinstance(error, TimeoutError):
        return ModelTimeout("the model did not answer in time")
    return ModelUnavailable("the connection to the model failed")
