"""Equal requests under way are one call: the first makes it, whoever asks the same meanwhile waits for it too.

A flight is a task of its own, so that nobody's cancel ends it for the others: it ends when nobody waits any more. Each
waiter keeps its own deadline. If the call fails because its maker's deadline was shorter, it is made once more by the
waiter with the most time. All waiters read one list of events, each at its own pace; what was withdrawn (TextReset) is
given to nobody who has not yet seen it. `then` is what the flight does with the whole answer, such as keeping it, once
the waiters have it; until that is done, who comes late still boards. Producer: the flight's task; consumers: the
waiters; `__aexit__` cancels.

No key, no joining: whether two requests are equal, and may share, is for the cache's key to say. `manner` is how a call
is to be made (`manner_of`); what differs in it is the same question, but not the same call.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable
from contextlib import aclosing
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelTimeout, ModelUnavailable
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.content import ModelReply, ModelRequest, StreamEnd, TextChunk
from ngx_agents.vertex.flight import Event, Flight, Seat, StartStream, Then, own_end

log = event_log("vertex")
StartReply = Callable[[], Awaitable[ModelReply]]
MAX_REFRESHES = 64
Call = tuple[CacheKey, Hashable]


def manner_of(request: ModelRequest) -> Hashable:
    """An urgent call does not wait on a patient one, and who wants no local answer, or no reset, is given none."""
    return request.urgency, request.on_cut, request.is_simple


class Flights:
    """Enter it before use; leaving fails what is still under way. `max_refreshes` bounds the calls nobody waits for."""

    def __init__(self, *, clock: Clock, metrics: Metrics, max_refreshes: int = MAX_REFRESHES) -> None:
        counter = metrics.counter("ngx_flights_total", "Calls that may be shared, by what became of them.", "event")
        self._led = counter.labels("led")
        self._joined = counter.labels("joined")
        self._restarted = counter.labels("restarted")
        self._abandoned = counter.labels("abandoned")
        self._refreshed = counter.labels("refreshed")
        self._refresh_failed = counter.labels("refresh_failed")
        self._clock = clock
        self._max_refreshes = max_refreshes
        self._refreshes = 0
        self._streams: dict[Call, Flight] = {}
        self._replies: dict[Call, Flight] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks, self._tasks = self._tasks, None
        for task in list(self._under_way):
            task.cancel()
        if tasks is not None:
            await tasks.__aexit__(None, None, None)

    def __len__(self) -> int:
        """Flights under way."""
        return len(self._streams) + len(self._replies)

    async def reply(
        self,
        key: CacheKey | None,
        start: StartReply,
        *,
        deadline_s: float,
        manner: Hashable = None,
        then: Then | None = None,
    ) -> ModelReply:
        """The answer of `start`, or of an equal call or stream under way. Raises what `start` raises, ModelTimeout."""
        if key is None:
            return await start()
        call = (key, manner)
        seat = Seat(_as_stream(start), deadline_s, then)
        flight = self._board(self._streams if call in self._streams else self._replies, call, seat)
        try:
            while not isinstance(event := await flight.next(seat), StreamEnd):
                pass
            return own_end(event).reply
        finally:
            self._leave(flight, seat)

    async def stream(
        self,
        key: CacheKey | None,
        start: StartStream,
        *,
        deadline_s: float,
        manner: Hashable = None,
        then: Then | None = None,
    ) -> AsyncGenerator[Event]:
        """The events of `start`, or of an equal stream under way from its beginning. Raises as `reply`."""
        if key is None:
            async with aclosing(start()) as events:
                async for event in events:
                    yield event
            return
        seat = Seat(start, deadline_s, then)
        flight = self._board(self._streams, (key, manner), seat)
        try:
            while not isinstance(event := await flight.next(seat), StreamEnd):
                yield event
            yield own_end(event)
        finally:
            self._leave(flight, seat)

    def refresh(
        self,
        key: CacheKey,
        start: StartReply,
        *,
        deadline_s: float,
        manner: Hashable = None,
        then: Then | None = None,
    ) -> bool:
        """Starts a call that nobody waits for, until the deadline; False when one is under way or too many are."""
        call = (key, manner)
        if call in self._streams or call in self._replies or self._refreshes >= self._max_refreshes:
            return False
        seat = Seat(_as_stream(start), deadline_s, then)
        flight = self._start(self._replies, call, seat)
        self._refreshes += 1
        seat.watch(self._clock.monotonic_s(), lambda: self._leave(flight, seat))
        flight.task.add_done_callback(lambda _: self._refresh_over(flight, seat))
        return True

    def _refresh_over(self, flight: Flight, seat: Seat) -> None:
        seat.unwatch()
        self._refreshes -= 1
        (self._refreshed if flight.error is None else self._refresh_failed).inc()

    def _board(self, flights: dict[Call, Flight], call: Call, seat: Seat) -> Flight:
        """The flight under way with one more seat, or a new one."""
        now_s = self._clock.monotonic_s()
        if seat.deadline_s <= now_s:
            raise ModelTimeout("the deadline had passed before the model was asked")
        flight = flights.get(call)
        if flight is None:
            flight = self._start(flights, call, seat)
            self._led.inc()
        else:
            flight.seat(seat)
            self._joined.inc()
        seat.watch(now_s, seat.wake)
        return flight

    def _start(self, flights: dict[Call, Flight], call: Call, seat: Seat) -> Flight:
        if self._tasks is None:
            raise RuntimeError("flights are used outside of their context: async with Flights(…) as flights")
        flight = flights[call] = Flight(seat)
        task = self._tasks.create_task(self._fly(flights, call, flight))
        flight.begun(task, lambda: _forget(flights, call, flight))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return flight

    def _leave(self, flight: Flight, seat: Seat) -> None:
        """The last to leave cancels the call."""
        seat.unwatch()
        flight.seats.pop(seat, None)
        if not flight.seats and not flight.is_over:
            flight.fail(ModelUnavailable("nobody waits for this answer any more"))
            self._abandoned.inc()
            flight.task.cancel()

    async def _fly(self, flights: dict[Call, Flight], call: Call, flight: Flight) -> None:
        try:
            await self._land(flight)
        except asyncio.CancelledError:
            flight.fail(ModelUnavailable("the call was given up"))
            raise
        finally:
            _forget(flights, call, flight)

    async def _land(self, flight: Flight) -> None:
        pilot: Seat | None = flight.pilot
        while pilot is not None:
            try:
                reply = await flight.take_from(pilot.start())
            except Exception as exc:  # noqa: BLE001  # whatever it is, it is the waiters' to judge
                pilot = self._after(flight, pilot, exc)
            else:
                await _do_then(pilot, reply, flight.chunks)
                return

    def _after(self, flight: Flight, pilot: Seat, error: Exception) -> Seat | None:
        """Who makes the call again; None, and the flight has failed, when nobody does."""
        successor = flight.successor(error, pilot, self._clock.monotonic_s())
        if successor is None:
            flight.fail(error)
            return None
        flight.begin_anew()
        self._restarted.inc()
        return successor


async def _do_then(pilot: Seat, reply: ModelReply, chunks: tuple[str, ...]) -> None:
    if pilot.then is None:
        return
    try:
        await pilot.then(reply, chunks)
    except Exception as exc:  # noqa: BLE001  # the answer has been given; nobody is left to tell
        log.warning("flight.then_failed", error=type(exc).__name__)


def _forget(flights: dict[Call, Flight], call: Call, flight: Flight) -> None:
    if flights.get(call) is flight:
        del flights[call]


def _as_stream(start: StartReply) -> StartStream:
    async def stream() -> AsyncGenerator[Event]:
        reply = await start()
        if reply.text:
            yield TextChunk(reply.text)
        yield StreamEnd(reply)

    return stream
