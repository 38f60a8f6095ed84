"""One message on its way, and where its reply goes.

A `Call` is admitted once and settles once: with a reply, an error, its deadline, or a cancel, whichever comes first;
what comes later is not heard. At the deadline and on a cancel the caller learns at once, while a handler that is slow
to stop keeps its worker until it has. Sinks are the callers' ends: a future, a bounded channel, nothing, or a carrier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol

from typing_extensions import override

from ngx_agents.a2a.message import A2AMessage
from ngx_agents.errors import DeadlineExceeded, NgxError, TurnCancelled

if TYPE_CHECKING:
    from ngx_agents.resilience.breaker import Ticket

MAX_UNREAD = 64
StoppedBy = Literal["", "deadline", "cancelled"]


class Sink(Protocol):
    """The caller's end. One `finish` or `fail` comes last; `chunk` waits while the reader is behind."""

    wants_chunks: bool

    async def chunk(self, value: object) -> None: ...

    def finish(self, value: object) -> None: ...

    def fail(self, error: NgxError) -> None: ...


class Call:
    """`stop` is set by whoever carries it: it ends the work wherever that is."""

    __slots__ = ("_timer", "agent", "entered_s", "is_settled", "message", "sink", "stop", "stopped_by", "task",
                 "ticket", "turn_class")  # fmt: skip

    def __init__(self, message: A2AMessage, sink: Sink) -> None:
        self.message = message
        self.agent = message.agent
        self.turn_class = message.context.turn_class
        self.sink = sink
        self.entered_s = 0.0
        self.ticket: Ticket | None = None
        self.task: asyncio.Task[None] | None = None
        self.stop: Callable[[Call], None] | None = None
        self.stopped_by: StoppedBy = ""
        self.is_settled = False
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, loop: asyncio.AbstractEventLoop, remaining_s: float) -> None:
        """Starts the one timer of the call: its deadline, waiting and running alike."""
        self._timer = loop.call_later(remaining_s, self.expire)

    def disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def expire(self) -> None:
        self._end("deadline", DeadlineExceeded("the time for this call to an agent is over"))

    def cancel(self) -> None:
        self._end("cancelled", TurnCancelled("the call to the agent was cancelled"))

    def finish(self, value: object) -> None:
        if self._settles():
            self.sink.finish(value)

    def fail(self, error: NgxError) -> None:
        if self._settles():
            self.sink.fail(error)

    def _end(self, by: StoppedBy, error: NgxError) -> None:
        if self._settles():
            self.stopped_by = by
            self.sink.fail(error)
            if self.stop is not None:
                self.stop(self)

    def _settles(self) -> bool:
        if self.is_settled:
            return False
        self.is_settled = True
        self.disarm()
        return True


class FutureSink(Sink):
    """For a caller that waits for the whole reply."""

    __slots__ = ("future",)
    wants_chunks = False

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[object] = loop.create_future()

    @override
    async def chunk(self, value: object) -> None:
        raise TypeError("whoever waits for the whole reply takes no pieces")

    @override
    def finish(self, value: object) -> None:
        if not self.future.done():
            self.future.set_result(value)

    @override
    def fail(self, error: NgxError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class NoSink(Sink):
    """For messages that go one way."""

    __slots__ = ()
    wants_chunks = False

    @override
    async def chunk(self, value: object) -> None:
        raise TypeError("nobody reads the reply")

    @override
    def finish(self, value: object) -> None: ...

    @override
    def fail(self, error: NgxError) -> None: ...


class ChannelSink(Sink):
    """For one reader of a stream: at most `MAX_UNREAD` pieces lie unread, then the agent waits."""

    wants_chunks = True

    def __init__(self) -> None:
        self._unread: deque[object] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_over = False
        self._error: NgxError | None = None
        self.has_pieces = False

    @override
    async def chunk(self, value: object) -> None:
        while len(self._unread) >= MAX_UNREAD:
            self._writer = asyncio.get_running_loop().create_future()
            await self._writer
        self.push(value)

    @property
    def unread(self) -> int:
        return len(self._unread)

    def push(self, value: object) -> None:
        self.has_pieces = True
        self._unread.append(value)
        self._wake()

    @override
    def finish(self, value: object) -> None:
        """`value` is the whole reply of an agent that does not stream, or None after the last piece."""
        if value is not None:
            self._unread.append(value)
        self._is_over = True
        self._wake()

    @override
    def fail(self, error: NgxError) -> None:
        self._error = error
        self._is_over = True
        self._wake()

    async def next(self) -> object:
        """Raises StopAsyncIteration after the last piece, or the error in its place."""
        while not self._unread:
            if self._error is not None:
                raise self._error
            if self._is_over:
                raise StopAsyncIteration
            self._reader = asyncio.get_running_loop().create_future()
            await self._reader
        value = self._unread.popleft()
        writer = self._writer
        if writer is not None and not writer.done():
            writer.set_result(None)
        return value

    def _wake(self) -> None:
        reader = self._reader
        if reader is not None and not reader.done():
            reader.set_result(None)
