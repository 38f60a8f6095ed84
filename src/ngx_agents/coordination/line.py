"""Commands on their way to one server: what is asked within one tick of the loop leaves in one write.

At most `WIDTH` connections, each with one batch under way; what is asked meanwhile is the next batch. Producers: tasks
that `send`. Consumers: one short task per busy connection, which resolves the answers in order; `close` of the `Tasks`
it runs in cancels it. A timer per tick fails what has no answer after `timeout_s`; the connection is kept, because its
answers may still come, and given up after `GIVE_UP_S`. An answer is a reply, or an exception as a value.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError

from ngx_agents.coordination.failures import FOREIGN, RETRY_AFTER_S
from ngx_agents.coordination.meters import Meters
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import SharedUnavailable
from ngx_agents.resilience.breaker import Breaker, Ticket
from ngx_agents.telemetry.log import event_log

Words: TypeAlias = "tuple[str | bytes | int, ...]"
WIDTH = 2
MAX_BATCH = 256
MAX_WAITING = 10_000
DIAL_S = 2.0
GIVE_UP_S = 1.0
LAG_S = 0.002  # a loop that was late looks at its sockets before it blames the server
log = event_log("coordination")


class _Request:
    __slots__ = ("answer", "is_asking", "words")

    def __init__(self, words: Words, answer: asyncio.Future[Any], is_asking: bool) -> None:
        self.words = words
        self.answer = answer
        self.is_asking = is_asking


class _Tick:
    __slots__ = ("due_s", "requests", "ticket")

    def __init__(self, ticket: Ticket, due_s: float) -> None:
        self.ticket = ticket
        self.due_s = due_s
        self.requests: list[_Request] = []

    def fail(self, message: str) -> bool:
        """Whether anything still waited."""
        waiting = [request for request in self.requests if not request.answer.done()]
        for request in waiting:
            request.answer.set_result(SharedUnavailable(message, retry_after_s=RETRY_AFTER_S))
        return bool(waiting)


class _Link:
    """A place for a connection."""

    __slots__ = ("connection", "was_used")

    def __init__(self) -> None:
        self.connection: AbstractConnection | None = None
        self.was_used = False


class Line:
    """`dial` opens a connection; `on_lost` hears of each that broke."""

    def __init__(
        self,
        dial: Callable[[], Awaitable[AbstractConnection]],
        on_lost: Callable[[], None],
        *,
        tasks: Tasks,
        breaker: Breaker,
        meters: Meters,
        timeout_s: float,
    ) -> None:
        self._dial = dial
        self._on_lost = on_lost
        self._tasks = tasks
        self._breaker = breaker
        self._meters = meters
        self._timeout_s = timeout_s
        self._links = [_Link() for _ in range(WIDTH)]
        self._idle = list(self._links)
        self._gathering: _Tick | None = None
        self._ticks: deque[_Tick] = deque()
        self._waiting = 0
        self._is_closed = False

    def send(self, words: Words, *, is_asking: bool = False) -> asyncio.Future[Any]:
        """What will be a reply or an exception. `is_asking`: the slot is on its way here (ASK).

        Raises SharedUnavailable.
        """
        tick = self._gathering or self._begin()
        if self._waiting >= MAX_WAITING:
            raise SharedUnavailable("too many commands wait for Redis", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        request = _Request(words, asyncio.get_running_loop().create_future(), is_asking)
        tick.requests.append(request)
        return request.answer

    async def close(self) -> None:
        """Fails what waits; what is under way fails by itself."""
        self._is_closed = True
        self._idle.clear()
        for tick in (*self._ticks, *([self._gathering] if self._gathering else ())):
            tick.fail("what instances share is closed")
        self._ticks.clear()
        for link in self._links:
            await _hang_up(link)

    def _begin(self) -> _Tick:
        ticket = self._breaker.admit()
        if ticket is None:
            raise SharedUnavailable("Redis did not answer lately", retry_after_s=self._breaker.retry_after_s)
        loop = asyncio.get_running_loop()
        tick = self._gathering = _Tick(ticket, loop.time() + self._timeout_s)
        loop.call_soon(self._flush)
        loop.call_later(self._timeout_s, self._expire, tick)
        return tick

    def _flush(self) -> None:
        tick, self._gathering = self._gathering, None
        if tick is not None:
            self._ticks.append(tick)
            if self._idle:
                self._tasks.spawn(self._work(self._idle.pop()))

    def _expire(self, tick: _Tick) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - tick.due_s > LAG_S:
            tick.due_s = loop.time() + LAG_S
            loop.call_later(LAG_S, self._expire, tick)
        elif tick.fail("Redis did not answer in time"):
            tick.ticket.failed()

    async def _work(self, link: _Link) -> None:
        while self._ticks:
            await self._exchange(link, self._take())
        if not self._is_closed:
            self._idle.append(link)

    def _take(self) -> list[_Tick]:
        taken = [self._ticks.popleft()]
        count = len(taken[0].requests)
        while self._ticks and count < MAX_BATCH:
            taken.append(self._ticks.popleft())
            count += len(taken[-1].requests)
        self._waiting -= count
        return taken

    async def _exchange(self, link: _Link, ticks: list[_Tick]) -> None:
        try:
            requests = [request for tick in ticks for request in tick.requests if not request.answer.done()]
            if requests:
                connection = await self._connected(link)
                async with asyncio.timeout(GIVE_UP_S):
                    await _converse(connection, requests)
        except FOREIGN as error:
            log.warning("shared.lost", reason=type(error).__name__)
            await _hang_up(link)
            for tick in ticks:
                tick.ticket.failed()
            self._on_lost()
        except BaseException:
            await _hang_up(link)
            raise
        else:
            for tick in ticks:
                tick.ticket.succeeded() if requests else tick.ticket.ignored()
        finally:
            for tick in ticks:
                tick.fail("Redis cannot be reached")

    async def _connected(self, link: _Link) -> AbstractConnection:
        connection = link.connection
        if connection is not None:
            if await _is_usable(connection):
                return connection
            await _hang_up(link)
        async with asyncio.timeout(DIAL_S):
            link.connection = await self._dial()
        if link.was_used:
            self._meters.reconnected()
        link.was_used = True
        return link.connection


async def _converse(connection: AbstractConnection, requests: list[_Request]) -> None:
    words: list[Words] = []
    for request in requests:
        if request.is_asking:
            words.append(("ASKING",))
        words.append(request.words)
    await connection.send_packed_command(connection.pack_commands(words), check_health=False)
    for request in requests:
        if request.is_asking:
            await _reply(connection)
        reply = await _reply(connection)
        if not request.answer.done():
            request.answer.set_result(reply)


async def _reply(connection: AbstractConnection) -> Any:
    try:
        return await connection.read_response(disable_decoding=True)
    except ResponseError as refused:
        return refused


async def _is_usable(connection: AbstractConnection) -> bool:
    """False when it was closed from the other side or has something to say that nobody asked for."""
    try:
        return connection.is_connected and not await connection.can_read()
    except LostConnection:
        return False


async def _hang_up(link: _Link) -> None:
    connection, link.connection = link.connection, None
    if connection is not None:
        await connection.disconnect(nowait=True)
