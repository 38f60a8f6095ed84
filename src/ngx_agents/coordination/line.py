"""Commands on their way to one server, over one connection: what is asked within one tick of the loop leaves in one
write, without waiting for the answers of what left before.

Producers: tasks that `send`. Consumer: the `Wire`, which resolves the answers. A task opens the connection when it is
missing; what is asked meanwhile waits for it. A timer per tick fails what has no answer after `timeout_s` and tells
the breaker what the tick came to; the connection is kept, because answers may still come, and given up when none did
for `GIVE_UP_S` more. An answer is a reply, or an exception as a value.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.coordination.failures import FAILURES, RETRY_AFTER_S, Lost
from ngx_agents.coordination.meters import Meters
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.coordination.wire import Wire, Words, pack
from ngx_agents.errors import SharedUnavailable
from ngx_agents.resilience.breaker import Breaker, Ticket
from ngx_agents.telemetry.log import event_log

MAX_WAITING = 10_000
MAX_WAITING_BYTES = 32 * 2**20
DIAL_S = 2.0
GIVE_UP_S = 1.0
LAG_S = 0.002  # a loop that was late looks at its sockets before it blames the server
log = event_log("coordination")
_ASKING = pack(("ASKING",))


class _Tick:
    """What was asked within one tick: packed commands, and one future for the reply of each."""

    __slots__ = ("answers", "due_s", "is_probe", "packed", "ticket")

    def __init__(self, ticket: Ticket, due_s: float, *, is_probe: bool) -> None:
        self.ticket = ticket
        self.is_probe = is_probe
        self.due_s = due_s
        self.packed: list[bytes] = []
        self.answers: list[asyncio.Future[Any]] = []

    def fail(self, failure: Exception) -> bool:
        """Whether anything still waited."""
        waiting = [answer for answer in self.answers if not answer.done()]
        for answer in waiting:
            answer.set_result(failure)
        return bool(waiting)

    def judge(self, _: object = None) -> None:
        """Once all is answered, tells the breaker what it came to. What was cancelled says nothing."""
        if not all(answer.done() for answer in self.answers):
            return
        replies = [answer.result() for answer in self.answers if not answer.cancelled()]
        if any(isinstance(reply, Lost | SharedUnavailable) for reply in replies):
            self.ticket.failed()
        elif replies:
            self.ticket.succeeded()
        else:
            self.ticket.ignored()


class Line:
    """`dial(on_end)` opens a connection; `on_lost` hears when one broke or could not be opened."""

    def __init__(
        self,
        dial: Callable[[Callable[[], None]], Awaitable[Wire]],
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
        self._wire: Wire | None = None
        self._is_dialling = False
        self._was_open = False
        self._is_closed = False
        self._gathering: _Tick | None = None
        self._undialled: list[_Tick] = []
        self._waiting = 0
        self._waiting_bytes = 0

    def send(self, words: Words, *, is_asking: bool = False) -> asyncio.Future[Any]:
        """What will be a reply or an exception. `is_asking`: the slot is on its way here (ASK).

        Raises SharedUnavailable.
        """
        tick = self._gathering or self._begin()
        if is_asking:
            _ = self._add(tick, _ASKING)
        return self._add(tick, pack(words))

    def drop(self) -> None:
        """Gives the connection up: it leads to the wrong server."""
        if self._wire is not None:
            self._wire.abort()

    def close(self) -> None:
        """What waits fails."""
        self._is_closed = True
        for tick in (*self._undialled, *([self._gathering] if self._gathering else ())):
            tick.fail(SharedUnavailable("what instances share is closed"))
        self._undialled.clear()
        self.drop()

    def _add(self, tick: _Tick, packed: bytes) -> asyncio.Future[Any]:
        wire, size_bytes = self._wire, len(packed)
        waiting, waiting_bytes = self._waiting, self._waiting_bytes
        if wire is not None:
            waiting, waiting_bytes = waiting + wire.unanswered, waiting_bytes + wire.unsent_bytes
        if waiting >= MAX_WAITING or waiting_bytes + size_bytes > MAX_WAITING_BYTES:
            raise SharedUnavailable("too many commands wait for Redis", retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        self._waiting_bytes += size_bytes
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        tick.packed.append(packed)
        tick.answers.append(answer)
        return answer

    def _begin(self) -> _Tick:
        if self._is_closed:
            raise SharedUnavailable("what instances share is closed")
        ticket = self._breaker.admit()
        if ticket is None:
            raise SharedUnavailable("Redis did not answer lately", retry_after_s=self._breaker.retry_after_s)
        loop = asyncio.get_running_loop()
        tick = self._gathering = _Tick(
            ticket, loop.time() + self._timeout_s, is_probe=self._breaker.state != "closed"
        )  # fmt: skip
        loop.call_soon(self._flush)
        loop.call_later(self._timeout_s, self._expire, tick)
        return tick

    def _flush(self) -> None:
        tick, self._gathering = self._gathering, None
        assert tick is not None
        if tick.is_probe:  # whose outcome the others wait for; all else is judged when its time is over
            for answer in tick.answers:
                answer.add_done_callback(tick.judge)
        if self._wire is not None:
            self._write(self._wire, tick)
        elif not self._is_closed:
            self._undialled.append(tick)
            if not self._is_dialling:
                self._is_dialling = True
                self._tasks.spawn(self._open())

    def _write(self, wire: Wire, tick: _Tick) -> None:
        self._waiting -= len(tick.answers)
        packed = b"".join(tick.packed)
        self._waiting_bytes -= len(packed)
        wire.send(packed, tick.answers)

    async def _open(self) -> None:
        failure: Exception = Lost()
        wire: Wire | None = None
        try:
            async with asyncio.timeout(DIAL_S):
                wire = await self._dial(self._ended)
        except FAILURES as error:
            log.warning("shared.not_connected", reason=type(error).__name__)
            failure = SharedUnavailable("Redis cannot be reached", retry_after_s=RETRY_AFTER_S)
            self._on_lost()
        finally:
            self._opened(wire, failure)

    def _opened(self, wire: Wire | None, failure: Exception) -> None:
        self._is_dialling = False
        ticks, self._undialled = self._undialled, []
        if wire is None or not wire.is_open:
            for tick in ticks:
                self._forget(tick)
                tick.fail(failure)
                tick.judge()
            return
        if self._was_open:
            self._meters.reconnected()
        self._was_open, self._wire = True, wire
        for tick in ticks:
            # what has expired is not sent: nobody waits for it
            if all(answer.done() for answer in tick.answers):
                self._forget(tick)
            else:
                self._write(wire, tick)

    def _forget(self, tick: _Tick) -> None:
        self._waiting -= len(tick.answers)
        self._waiting_bytes -= sum(map(len, tick.packed))

    def _ended(self) -> None:
        self._wire = None
        if not self._is_closed:
            self._on_lost()

    def _expire(self, tick: _Tick) -> None:
        loop = asyncio.get_running_loop()
        if all(answer.done() for answer in tick.answers):  # looked at late or not: there is nothing to wait for
            tick.judge()
            return
        if loop.time() - tick.due_s > LAG_S:
            tick.due_s = loop.time() + LAG_S
            loop.call_later(LAG_S, self._expire, tick)
            return
        if tick.fail(SharedUnavailable("Redis did not answer in time", retry_after_s=RETRY_AFTER_S)):
            wire = self._wire
            if wire is not None:
                loop.call_later(GIVE_UP_S, self._give_up, wire, wire.replies)
        tick.judge()

    def _give_up(self, wire: Wire, replies: int) -> None:
        if wire.replies == replies and wire.unanswered:
            log.warning("shared.given_up")
            wire.abort()
