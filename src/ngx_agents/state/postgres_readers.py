"""The readers: a few tasks with a connection each, that do one reading call after the other.

A caller that stops waiting leaves the connection as it is: its call runs to its end, and nobody is told. A call that
lost its connection is made once more on a new one; one that took too long is not. The more urgent class goes first, and
in a class tenants take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, TypeAlias

from ngx_agents.errors import JournalUnavailable
from ngx_agents.resilience.caller import tenant_now, urgency_of
from ngx_agents.resilience.fair_order import FairOrder
from ngx_agents.state.postgres_connections import Connector, Session
from ngx_agents.state.postgres_errors import understood

Call: TypeAlias = "Callable[[Session], Awaitable[Any]]"
MAX_WAITING = 10_000
INTERACTIVE, LAST = 1, 9
_Item: TypeAlias = "tuple[int, int, int, tuple[Call, asyncio.Future[Any]] | None]"


class Readers:
    """`size` readers of what `connector` reaches."""

    def __init__(self, connector: Connector, *, size: int) -> None:
        self._sessions = [Session(connector) for _ in range(size)]
        self._calls: asyncio.PriorityQueue[_Item] = asyncio.PriorityQueue(MAX_WAITING)
        self._order = FairOrder()
        self._numbers = count()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = [tasks.create_task(self._read(session)) for session in self._sessions]

    async def stop(self) -> None:
        """Lets what was asked be answered, then ends the readers."""
        tasks, self._tasks = self._tasks, []
        for _ in tasks:
            await self._calls.put((LAST, 0, next(self._numbers), None))
        if tasks:
            await asyncio.wait(tasks)
        for session in self._sessions:
            await session.close()

    def submit(self, call: Call) -> asyncio.Future[Any]:
        """The future raises what the call raised, typed. Raises JournalUnavailable when stopped or full."""
        if not self._tasks:
            raise JournalUnavailable("the journal is closed")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            tag = self._order.tag(tenant_now())
            self._calls.put_nowait((urgency_of(INTERACTIVE), tag, next(self._numbers), (call, future)))
        except asyncio.QueueFull:
            raise JournalUnavailable("too much is waiting to be read", retry_after_s=2.0) from None
        return future

    async def _read(self, session: Session) -> None:
        while True:
            _, tag, _, item = await self._calls.get()
            if item is None:
                return
            self._order.served(tag)
            call, future = item
            if future.done():
                continue
            try:
                result = await _called(session, call)
            except Exception as error:  # noqa: BLE001 - the supervisor of a reader
                if not future.done():
                    future.set_exception(understood(error))
            else:
                if not future.done():
                    future.set_result(result)


async def _called(session: Session, call: Call) -> Any:
    was_connected = not session.is_broken
    try:
        return await call(session)
    except Exception as error:
        if not was_connected or not session.is_broken or isinstance(error, TimeoutError):
            raise
    return await call(session)
