"""Places for calls: up to `max_slots` connections, each carrying up to `calls_per_slot` calls at once.

Slots are opened when they are needed and the least loaded is used first. A call that finds no place waits its turn
(first come, first served) until its deadline; at most `MAX_WAITING` wait. Producer of places: `give_back`; consumers:
the waiting calls; a cancelled waiter leaves the queue and hands on what it was just given.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import Generic, TypeVar

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelTimeout, ModelUnavailable

MAX_WAITING = 10_000
SPREAD_AT = 16  # calls a connection carries before another is opened: below, one TCP window serves them all well

Carrier = TypeVar("Carrier")
_load = attrgetter("load")


class Slot(Generic[Carrier]):
    """One connection and how many calls it carries."""

    __slots__ = ("carrier", "load")

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier
        self.load = 0


class Pool(Generic[Carrier]):
    """`make` opens one more connection. `on_wait` is told how long each call waited that had to."""

    def __init__(
        self,
        make: Callable[[], Carrier],
        *,
        max_slots: int,
        calls_per_slot: int,
        clock: Clock,
        on_wait: Callable[[float], None],
    ) -> None:
        self.slots: list[Slot[Carrier]] = []
        self._make = make
        self._max_slots = max_slots
        self._calls_per_slot = calls_per_slot
        self._spread_at = min(SPREAD_AT, calls_per_slot)
        self._clock = clock
        self._on_wait = on_wait
        self._waiting: deque[asyncio.Future[Slot[Carrier]]] = deque()

    @property
    def in_flight(self) -> int:
        return sum(slot.load for slot in self.slots)

    def take(self) -> Slot[Carrier] | None:
        """A place at once, or None when all are taken or others were first."""
        if self._waiting:
            return None
        least = min(self.slots, key=_load, default=None)
        if (least is None or least.load >= self._spread_at) and len(self.slots) < self._max_slots:
            least = Slot(self._make())
            self.slots.append(least)
        if least is None or least.load >= self._calls_per_slot:
            return None
        least.load += 1
        return least

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
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(slot)
                return
        slot.load -= 1

    def _forget(self, waiter: asyncio.Future[Slot[Carrier]]) -> None:
        if waiter.done() and not waiter.cancelled():
            self.give_back(waiter.result())
        elif waiter in self._waiting:
            self._waiting.remove(waiter)
