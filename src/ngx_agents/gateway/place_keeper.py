"""Asks for places that all instances share (`coordination.commands.Hold`), says again that they are held, gives them
back.

Takers ask; one task, from entering to leaving, renews the leases and gives back what turns that ended leave over:
nobody waits for that. A killed instance's places are free `LEASE_S` later. What cannot be reached is not waited for:
then each instance keeps the limits by itself. Bounded by the turns that run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Hold
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedRefused, SharedUnavailable
from ngx_agents.resilience.shared_places import Places

LEASE_S = 10.0
RENEW_S = 3.0
LEAVE_S = 1.0
AT_ONCE = 128


class PlaceKeeper:
    """`member` is this incarnation's name among all instances."""

    def __init__(self, shared: Shared, *, member: str, clock: Clock, lease_s: float = LEASE_S) -> None:
        self._shared = shared
        self._member = member
        self._lease_s = lease_s
        self._now_s = clock.monotonic_s
        self._kept: dict[str, Places] = {}
        self._eased: dict[str, Places] = {}
        self._is_due = asyncio.Event()
        self._tasks = asyncio.TaskGroup()
        self._keeping: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Of how many users and tenants places are held."""
        return len(self._kept)

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._keeping = self._tasks.create_task(self._keep())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives everything back, if that can be done soon."""
        if self._keeping is not None:
            self._keeping.cancel()
        await self._tasks.__aexit__(None, None, None)
        for places in self._kept.values():
            places.used = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_S):
                await self._tell(list(self._kept.values()))

    async def ask(self, places: Places, limit: int) -> None:
        """Has the places that are wanted, as far as others leave them."""
        self._kept[places.key] = places
        places.wanting += 1
        try:
            await self._say(places, limit=limit, wanted=places.wanted(limit))
        finally:
            places.wanting -= 1
            if not places.held:
                self._forget(places)

    def eased(self, places: Places) -> None:
        """Fewer are used: what is left over goes to the others soon."""
        self._eased[places.key] = places
        self._is_due.set()

    async def _say(self, places: Places, *, limit: int, wanted: int) -> None:
        question = places.asked()
        try:
            told = await self._shared.ask(Hold(places.key, self._member, wanted, places.used, limit, self._lease_s))
        except (SharedUnavailable, SharedRefused):
            places.told_nothing(limit)
        else:
            places.told(question, held=told.count, others=told.others)

    async def _keep(self) -> None:
        renew_s = self._now_s() + RENEW_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, renew_s - self._now_s())):
                    await self._is_due.wait()
            self._is_due.clear()
            due, self._eased = self._eased, {}
            if self._now_s() >= renew_s:
                renew_s = self._now_s() + RENEW_S
                due = dict(self._kept)
            await self._tell(list(due.values()))

    async def _tell(self, due: Sequence[Places]) -> None:
        for first in range(0, len(due), AT_ONCE):
            await asyncio.gather(*(self._again(places) for places in due[first : first + AT_ONCE]))

    async def _again(self, places: Places) -> None:
        """Holds what is used, and a few ahead while any is; so nobody who is idle keeps anything."""
        wanted = places.used + places.wanting + (places.ahead if places.used else 0)
        places.held = min(places.held, wanted)  # who comes meanwhile asks
        await self._say(places, limit=wanted + places.others, wanted=wanted)
        if not places.held:
            self._forget(places)

    def _forget(self, places: Places) -> None:
        if not places.wanting and self._kept.get(places.key) is places:
            del self._kept[places.key]
