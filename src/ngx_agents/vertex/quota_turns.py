"""One at a time, the most urgent first: whose turn it is to ask for more of a quota.

Who takes a turn passes it on, whatever happens. Cancelled by: the caller, whose turn then goes to the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ngx_agents.clock import Clock
from ngx_agents.vertex.permit_line import PermitLine, Waiter


class QuotaTurns:
    """`refusal(urgency)` is the error of those who wait in vain: too long, displaced, or before a full line."""

    def __init__(self, *, max_waiting: int, clock: Clock, refusal: Callable[[int], Exception]) -> None:
        self._line: PermitLine[None] = PermitLine(max_waiting)
        self._now_s = clock.monotonic_s
        self._refusal = refusal
        self.is_taken = False

    @property
    def waiting(self) -> int:
        return len(self._line)

    def is_wanted_before(self, urgency: int) -> bool:
        """Whether someone more urgent waits."""
        return self._line.ahead_of(urgency - 1) > 0

    async def take(self, urgency: int, *, since_s: float, deadline_s: float) -> None:
        """Returns when it is the caller's turn; `pass_on` ends it. Raises the refusal."""
        if not self.is_taken:
            self.is_taken = True
            return
        if self._line.is_full:
            self._displace(urgency)
        loop = asyncio.get_running_loop()
        waiter = Waiter(granted=loop.create_future(), urgency=urgency, since_s=since_s, deadline_s=deadline_s)
        self._line.add(waiter)
        timer = loop.call_later(deadline_s - self._now_s(), self._refuse, waiter)
        try:
            await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                self.pass_on()
            raise
        finally:
            timer.cancel()
            self._line.remove(waiter)

    def pass_on(self) -> None:
        while self._line:
            waiter = self._line.pop()
            if not waiter.granted.done():
                waiter.granted.set_result(None)
                return
        self.is_taken = False

    def _displace(self, urgency: int) -> None:
        displaced = self._line.displace(urgency)
        if displaced is None:
            raise self._refusal(urgency)
        self._refuse(displaced)

    def _refuse(self, waiter: Waiter[None]) -> None:
        self._line.remove(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(self._refusal(waiter.urgency))
