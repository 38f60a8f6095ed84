"""How far the primary's log has come, asked once for all who want to know at the same time.

An answer is never older than the question: who comes while one is under way waits for the next. A primary that does
not answer in time, or fails, is not asked again for a moment, so that its being away costs a read next to nothing.
"""

from __future__ import annotations

import asyncio

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import NgxError
from ngx_agents.resilience.breaker import Breaker, BreakerRules
from ngx_agents.state.commands import GetPosition, Position
from ngx_agents.state.journal import Journal

RULES = BreakerRules(min_calls=2, window_s=10.0, open_s=0.5, max_open_s=2.0, probes=1)


class PrimaryPosition:
    """`system` identifies the primary, once it has answered."""

    def __init__(self, primary: Journal, *, clock: Clock, rng: Rng, within_s: float) -> None:
        self.system: int | None = None
        self._primary = primary
        self._within_s = within_s
        self._breaker = Breaker(RULES, clock=clock, rng=rng)
        self._waiting: list[asyncio.Future[int | None]] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._asking: asyncio.Task[None] | None = None

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks

    def stop(self) -> None:
        self._tasks = None
        if self._asking is not None:
            self._asking.cancel()
        for future in self._waiting:
            future.cancel()

    @property
    def is_away(self) -> bool:
        """Whether the primary did not answer lately, and is not asked for the moment."""
        return self._breaker.state == "open"

    async def now(self) -> int | None:
        """A position at or above everything that was acknowledged before this call; None when it cannot be had."""
        if self._tasks is None:
            return None
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        if self._asking is None or self._asking.done():
            self._asking = self._tasks.create_task(self._ask())
        return await future

    async def _ask(self) -> None:
        while self._waiting:
            waiting, self._waiting = self._waiting, []
            try:
                place = await self._asked()
            except BaseException:
                for future in waiting:
                    future.cancel()
                raise
            for future in waiting:
                if not future.cancelled():
                    future.set_result(place)

    async def _asked(self) -> int | None:
        ticket = self._breaker.admit()
        if ticket is None:
            return None
        try:
            async with asyncio.timeout(self._within_s):
                found: Position = await self._primary.query(GetPosition())
        except (NgxError, TimeoutError):
            ticket.failed()
            return None
        except BaseException:
            ticket.ignored()
            raise
        ticket.succeeded()
        if found.is_standby:
            return None
        self.system = found.system
        return found.place
