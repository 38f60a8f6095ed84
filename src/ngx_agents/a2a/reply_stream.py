"""A streamed reply, as its caller reads it: piece by piece, from a worker's channel or from the handler itself.

Agents that are registered so are worked on in the caller's own task while a worker is free and nothing waits: no
mailbox, no hand-over, no copy. Such a message counts like any other: pending, worker, breaker, instance, meters. The
difference is who waits for whom: at the deadline or a cancel the caller learns when the handler has stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from typing import Self, cast

from typing_extensions import override

from ngx_agents.a2a.admission import Admission
from ngx_agents.a2a.call import Call, ChannelSink, Sink
from ngx_agents.a2a.local_agent import LocalAgent, Seat
from ngx_agents.a2a.message import A2AMessage
from ngx_agents.a2a.refusals import AgentFailed
from ngx_agents.errors import NgxError
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.traceparent import parse_traceparent
from ngx_agents.telemetry.traces import NO_SPAN, Span, Traces

log = event_log("a2a")


class ReplyStream:
    """Nothing is asked before the first piece is. Left early, `aclose` ends the work; `contextlib.aclosing` calls it.
    For one reader at a time.

    While a handler that works in its reader's task has control, a stop cancels the task and becomes the stop's error
    here; while the reader has it, a stop is only marked, and told when the next piece is asked for.
    """

    __slots__ = ("_admission", "_agent", "_answer", "_call", "_channel", "_loop", "_message", "_seat", "_sink", "_span",
                 "_traces")  # fmt: skip

    def __init__(self, admission: Admission, message: A2AMessage, traces: Traces) -> None:
        self._admission = admission
        self._message = message
        self._traces = traces
        self._loop: asyncio.AbstractEventLoop | None = None
        self._call: Call | None = None
        self._channel: ChannelSink | None = None
        self._agent: LocalAgent | None = None
        self._answer: AsyncGenerator[object]
        self._seat: Seat | None = None  # there while a handler works in this task
        self._sink = _OwnSink()
        self._span = NO_SPAN

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> object:
        if self._loop is None:
            await self._begin()
        if self._channel is not None:
            return await self._channel.next()
        if self._seat is None:
            raise StopAsyncIteration
        call = self._own_call
        if self._sink.error is not None:
            await self._close()
            raise self._sink.error
        task = self._sink.task = asyncio.current_task()
        cancelling = 0 if task is None else task.cancelling()
        try:
            return await self._answer.__anext__()
        except StopAsyncIteration:
            call.finish(None)
            self._end(None)
            raise
        except BaseException as error:
            raised = self._failed(error, cancelling)
            if raised is error:
                raise
            raise raised from (error if isinstance(error, Exception) else None)
        finally:
            self._sink.task = None

    async def aclose(self) -> None:
        """May be called more than once, and before anything was read."""
        if self._seat is not None:
            await self._close()
        elif self._channel is not None:
            self._own_call.cancel()

    @property
    def _own_call(self) -> Call:
        assert self._call is not None
        return self._call

    async def _begin(self) -> None:
        self._loop = asyncio.get_running_loop()
        seated = self._admission.seat(self._message, self._sink)
        if seated is None:
            channel = ChannelSink()
            self._call = await self._admission.admit(self._message, channel)
            self._channel = channel
            return
        agent, call = seated
        self._agent, self._call = agent, call
        if self._traces.is_on:
            self._span = _span(agent, call, self._traces)
        self._seat = seat = agent.begin(call)
        call.stop = self._sink.stop
        answer = seat.instance.handler(call.message)
        self._answer = answer if isinstance(answer, AsyncGenerator) else _whole(cast("Awaitable[object]", answer))

    async def _close(self) -> None:
        self._own_call.cancel()
        try:
            await self._answer.aclose()
        finally:
            self._end(asyncio.CancelledError())

    def _end(self, failure: BaseException | None) -> None:
        seat, self._seat = self._seat, None
        if seat is not None and self._agent is not None:
            self._agent.end(self._own_call, seat, failure)
            self._span.end()

    def _failed(self, error: BaseException, cancelling: int) -> BaseException:
        """What the reader is told of what ended the handler."""
        call, cancelled = self._own_call, self._sink.cancelled
        # the task was cancelled for the call's sake, and by nobody else; that is taken back
        is_ours = cancelled is not None and cancelled.uncancel() <= cancelling
        told = error
        if isinstance(error, NgxError):
            call.fail(error)
        elif isinstance(error, Exception):
            log.exception("a2a.agent_failed", agent=call.agent, message_id=call.message.id)
            told = AgentFailed(call.agent)
            call.fail(told)
        else:
            call.cancel()
            if is_ours and self._sink.error is not None:
                told = self._sink.error
        self._end(error)
        return told

    def __del__(self) -> None:
        """A reader that went away without closing; whichever thread finds that out."""
        if self._call is None or self._loop is None or self._loop.is_closed():
            return
        if self._seat is not None or (self._channel is not None and not self._call.is_settled):
            self._loop.call_soon_threadsafe(_Left(self._call, self._agent, self._seat).settle)


class _OwnSink(Sink):
    """The end of a call that is worked on in its reader's task: there while the handler has control."""

    __slots__ = ("cancelled", "error", "task")
    wants_chunks = True

    def __init__(self) -> None:
        self.error: NgxError | None = None
        self.task: asyncio.Task[object] | None = None
        self.cancelled: asyncio.Task[object] | None = None

    @override
    async def chunk(self, value: object) -> None:
        raise TypeError("the reader of this stream has the pieces already")

    @override
    def finish(self, value: object) -> None: ...

    @override
    def fail(self, error: NgxError) -> None:
        self.error = error

    def stop(self, call: Call) -> None:
        if self.task is not None:
            self.cancelled = self.task
            self.task.cancel()


class _Left:
    """What remains of a stream whose reader is gone; the loop closes the handler by itself."""

    def __init__(self, call: Call, agent: LocalAgent | None, seat: Seat | None) -> None:
        self._call = call
        self._agent = agent
        self._seat = seat

    def settle(self) -> None:
        self._call.cancel()
        if self._agent is not None and self._seat is not None:
            self._agent.end(self._call, self._seat, asyncio.CancelledError())


async def _whole(answer: Awaitable[object]) -> AsyncGenerator[object]:
    yield await answer


def _span(agent: LocalAgent, call: Call, traces: Traces) -> Span:
    context = call.message.context
    span = traces.start("a2a.handle", kind="consumer", parent=parse_traceparent(context.traceparent))
    span.set("agent", agent.name)
    span.set("class", context.turn_class)
    span.set("depth", context.depth)
    context.traceparent = span.traceparent
    return span
