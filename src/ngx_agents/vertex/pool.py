"""Places for calls: up to `max_slots` connections, each carrying up to `calls_per_slot` calls at once.

Slots are opened when they are needed and the least loaded is used first. A call that finds no place waits its turn
(first come, first served) until its deadline; at most `MAX_WAITING` wait. Producer of places: `give_back`; consumers:
the waiting calls; a cancelled waiter leaves the queue and hands on what it was just given.

A slot that failed `max_failures` calls in a row takes no more, ends with the last of its calls, and another is opened
in its stead at once. A slot that was idle for `idle_s` is closed. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Generic, TypeVar

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelTimeout, ModelUnavailable

MAX_WAITING = 10_000
SPREAD_AT = 16  # calls a connection carries before another is opened: below, one TCP window serves them all well
MIN_LOOK_S = 0.001

Carrier = TypeVar("Carrier")
_load = attrgetter("load")


class PoolBounds(msgspec.Struct, frozen=True, kw_only=True):
    """`max_failures` 0: no slot is given up for its failures; `idle_s` None: none is closed for being idle."""

    max_slots: int
    calls_per_slot: int
    max_failures: int = 0
    idle_s: float | None = None


class Slot(Generic[Carrier]):
    """One connection, how many calls it carries and how many have failed since one was answered."""

    __slots__ = ("carrier", "failures", "idle_since_s", "is_retired", "load")

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.load = 0
        self.failures = 0
        self.idle_since_s = 0.0
        self.is_retired = False


class Pool(Generic[Carrier]):
    """`make` opens one more connection, `close` closes one. `on_wait` is told how long each call waited that had to."""

    def __init__(
        self,
        make: Callable[[], Carrier],
        close: Callable[[Carrier], None],
        *,
        bounds: PoolBounds,
        clock: Clock,
        on_wait: Callable[[float], None],
    ) -> None:
        self.slots: list[Slot[Carrier]] = []
        self.is_failed = False  # whether the last connection was given up: what the peer speaks is to be asked again
        self._draining: list[Slot[Carrier]] = []
        self._close = close
        self._clock = clock
        self._on_wait = on_wait
        self._waiting: deque[asyncio.Future[Slot[Carrier]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self.adapt(make, bounds)

    def adapt(self, make: Callable[[], Carrier], bounds: PoolBounds) -> None:
        """From now on connections are opened by `make` and used within `bounds`."""
        self._make = make
        self._bounds = bounds
        self._calls_per_slot = bounds.calls_per_slot
        self._spread_at = min(SPREAD_AT, bounds.calls_per_slot)
        self.is_failed = False

    @property
    def in_flight(self) -> int:
        return sum(slot.load for slot in (*self.slots, *self._draining))

    def take(self) -> Slot[Carrier] | None:
        """A place at once, or None when all are taken or others were first."""
        return None if self._waiting else self._place()

    async def wait(self, deadline_s: float) -> Slot[Carrier]:
        """A place as soon as there is one. Raises ModelTimeout, ModelUnavailable (too many wait already)."""
        if len(self._waiting) >= MAX_WAITING:
            raise ModelUnavailable("too many model calls are waiting for a connection")
        waiter: asyncio.Future[Slot[Carrier]] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        began_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(max(0.0, deadline_s - began_s)):
                slot = await waiter
        except BaseException as exc:
            self._forget(waiter)
            if isinstance(exc, TimeoutError):
                raise ModelTimeout("no connection to the model became free in time") from exc
            raise
        self._on_wait(self._clock.monotonic_s() - began_s)
        return slot

    def give_back(self, slot: Slot[Carrier]) -> None:
        """The call is over; the first in the queue takes its place."""
        slot.load -= 1
        if self._waiting:
            self._serve()
        if slot.load:
            return
        if slot.is_retired:
            self._draining.remove(slot)
            self._close(slot.carrier)
        elif (idle_s := self._bounds.idle_s) is not None:
            slot.idle_since_s = self._clock.monotonic_s()
            if self._timer is None:
                self._look_in(idle_s)

    def failed(self, slot: Slot[Carrier]) -> None:
        """A call failed on this connection. Its place is still to be given back."""
        slot.failures += 1
        if slot.is_retired or not self._bounds.max_failures or slot.failures < self._bounds.max_failures:
            return
        slot.is_retired = True
        self.slots.remove(slot)
        self._draining.append(slot)
        self.is_failed = not self.slots
        if self._waiting:
            self._serve()

    def shrink(self) -> None:
        """Closes what has been idle for long enough."""
        self._timer = None
        if self._bounds.idle_s is None:
            return
        idle = [slot for slot in self.slots if not slot.load]
        due_s = self._clock.monotonic_s() - self._bounds.idle_s
        left_s = [slot.idle_since_s - due_s for slot in idle if slot.idle_since_s > due_s]
        for slot in idle:
            if slot.idle_since_s <= due_s:
                self.slots.remove(slot)
                self._close(slot.carrier)
        if left_s:
            self._look_in(min(left_s))

    def clear(self) -> None:
        """Closes every connection and sends the waiting away."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for slot in (*self.slots, *self._draining):
            self._close(slot.carrier)
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ModelUnavailable("the model client is closed"))
        self.slots, self._draining = [], []

    def _place(self) -> Slot[Carrier] | None:
        least = min(self.slots, key=_load, default=None)
        if (least is None or least.load >= self._spread_at) and self._may_open():
            least = Slot(self._make())
            self.slots.append(least)
        if least is None or least.load >= self._calls_per_slot:
            return None
        least.load += 1
        return least

    def _may_open(self) -> bool:
        """Given up ones do not count while they drain, up to as many again."""
        most = self._bounds.max_slots
        return len(self.slots) < most and len(self.slots) + len(self._draining) < 2 * most

    def _serve(self) -> None:
        while self._waiting:
            if not self._waiting[0].done():
                slot = self._place()
                if slot is None:
                    return
                self._waiting[0].set_result(slot)
            del self._waiting[0]

    def _forget(self, waiter: asyncio.Future[Slot[Carrier]]) -> None:
        if waiter in self._waiting:
            self._waiting.remove(waiter)
        elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.give_back(waiter.result())

    def _look_in(self, delay_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(max(delay_s, MIN_LOOK_S), self.shrink)
