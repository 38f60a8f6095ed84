"""One call that several wait for: its events so far, and the seats of those who wait.

The list of events is shared and only grows, until a reset puts an empty one in its place: a seat sees by the list's
identity that what it read has been withdrawn.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from copy import deepcopy

from msgspec.structs import replace

from ngx_agents.errors import DeadlineExceeded, ModelProtocolError, ModelTimeout, ModelUnavailable
from ngx_agents.vertex.content import ModelReply, StreamEnd, TextChunk, TextReset, ToolCall

Event = TextChunk | TextReset | StreamEnd
StartStream = Callable[[], AsyncGenerator[Event]]
# what is done with a whole answer once it has been given out: (reply, its text in the pieces in which it came)
Then = Callable[[ModelReply, tuple[str, ...]], Awaitable[object]]
MAX_CHARS = 8 * 2**20  # of one answer's text: it is held whole for as long as somebody reads it
NEAR_DEADLINE_S = 0.1  # a call that timed out so close before its maker's deadline did so because of it


class Seat:
    """One who waits. `start` makes the call in this one's name; `deadline_s` is on the client's monotonic clock."""

    __slots__ = ("_timer", "_waiting", "deadline_s", "events", "index", "is_late", "start", "then")

    def __init__(self, start: StartStream, deadline_s: float, then: Then | None = None) -> None:
        self.start = start
        self.then = then
        self.deadline_s = deadline_s
        self.is_late = False
        self.events: list[Event] = []  # the flight's own, of which this seat has read up to `index`
        self.index = 0
        self._waiting: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, now_s: float, on_late: Callable[[], None]) -> None:
        """Calls `on_late` once the deadline has passed."""
        if math.isfinite(self.deadline_s):
            self._timer = asyncio.get_running_loop().call_later(self.deadline_s - now_s, self._late, on_late)

    def unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def changed(self) -> None:
        """Until the next `wake`."""
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def _late(self, on_late: Callable[[], None]) -> None:
        self.is_late = True
        on_late()


class Flight:
    """`pilot` is the seat whose `start` makes the call. `error` is set when it is over without an answer."""

    def __init__(self, pilot: Seat) -> None:
        self.pilot = pilot
        self.seats: dict[Seat, None] = {}
        self.events: list[Event] = []
        self.error: Exception | None = None
        self.is_over = False
        self.task: asyncio.Task[None]
        self._on_failed: Callable[[], None]
        self._reset = TextReset("")
        self._chars = 0
        self.seat(pilot)

    def begun(self, task: asyncio.Task[None], on_failed: Callable[[], None]) -> None:
        """`on_failed` is called before anyone learns of it."""
        self.task = task
        self._on_failed = on_failed

    async def take_from(self, source: AsyncGenerator[Event]) -> ModelReply:
        """Takes all events of a call; its reply. Raises what it raises, and ModelUnavailable when it has no end."""
        async with aclosing(source) as events:
            async for event in events:
                if isinstance(event, TextReset):
                    self._restart(event)
                    continue
                self._add(event)
                if isinstance(event, StreamEnd):
                    return event.reply
        raise ModelUnavailable("the model's stream ended before the answer was complete")

    def successor(self, error: Exception, pilot: Seat, now_s: float) -> Seat | None:
        """Who makes the call again, because it failed only by its maker's deadline: the one with the most time."""
        is_by_deadline = isinstance(error, DeadlineExceeded) or (
            isinstance(error, ModelTimeout) and now_s >= pilot.deadline_s - NEAR_DEADLINE_S
        )
        if not is_by_deadline or not self.seats:
            return None
        last = max(self.seats, key=lambda seat: seat.deadline_s)
        has_time = last.deadline_s > max(now_s, pilot.deadline_s) + NEAR_DEADLINE_S
        return last if has_time else None

    def begin_anew(self) -> None:
        """The call is made again: what was said so far is withdrawn."""
        self._restart(TextReset(ModelTimeout.code))

    def fail(self, error: Exception) -> None:
        """Ends it for all who wait, unless it is over already."""
        if not self.is_over:
            self.error = error
            self.is_over = True
            self._on_failed()
            self._wake()

    @property
    def chunks(self) -> tuple[str, ...]:
        """The text that holds, in pieces."""
        return tuple(event.text for event in self.events if isinstance(event, TextChunk))

    def seat(self, seat: Seat) -> None:
        """One more waits, from the beginning of what holds."""
        seat.events = self.events
        self.seats[seat] = None

    async def next(self, seat: Seat) -> Event:
        """The next event for this seat, until its StreamEnd. Raises ModelTimeout, and what the call failed with."""
        while True:
            if seat.events is not self.events:
                has_seen_text, seat.events, seat.index = seat.index > 0, self.events, 0
                if has_seen_text:
                    return self._reset
            if seat.index < len(seat.events):
                seat.index += 1
                return seat.events[seat.index - 1]
            if self.error is not None:
                raise own_error(self.error) from self.error
            if seat.is_late:
                raise ModelTimeout("the model did not answer in time")
            await seat.changed()

    def _add(self, event: TextChunk | StreamEnd) -> None:
        if isinstance(event, TextChunk):
            self._chars += len(event.text)
            if self._chars > MAX_CHARS:
                raise ModelProtocolError("the model's answer is longer than any answer may be")
        self.events.append(event)
        self.is_over = isinstance(event, StreamEnd)
        self._wake()

    def _restart(self, reset: TextReset) -> None:
        self._reset = reset
        self._chars = 0
        self.events = []
        self._wake()

    def _wake(self) -> None:
        for seat in self.seats:
            seat.wake()


def own_end(end: StreamEnd) -> StreamEnd:
    """The same end with a content that its receiver may do with as it likes."""
    content = end.reply.content
    parts = tuple(
        replace(part, arguments=deepcopy(part.arguments)) if isinstance(part, ToolCall) else part
        for part in content.parts
    )
    return StreamEnd(replace(end.reply, content=replace(content, parts=parts, wire=dict(content.wire))))


def own_error(error: Exception) -> Exception:
    """The same error as an instance of its own: a traceback grows with everyone who raises it."""
    made: Exception = type(error).__new__(type(error), *error.args)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    return made
