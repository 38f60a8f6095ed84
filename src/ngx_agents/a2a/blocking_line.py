"""A connection of one reader that blocks: to the server that holds a key, made anew when it breaks or the key moves."""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.coordination.failures import FAILURES, Lost, Refusal
from ngx_agents.coordination.servers import Servers
from ngx_agents.coordination.wire import Wire, Words, pack
from ngx_agents.errors import SharedUnavailable

CONNECT_S = 2.0
ELSEWHERE = ("MOVED", "ASK", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "UNBLOCKED")


class BlockingLine:
    """For one task at a time."""

    def __init__(self, servers: Servers, key: str) -> None:
        self._servers = servers
        self._key = key
        self._wire: Wire | None = None

    async def ask(self, *commands: Words, within_s: float) -> Any:
        """The reply to the last of `commands`, sent together. Raises SharedUnavailable, Refusal (that of the last)."""
        try:
            async with asyncio.timeout(CONNECT_S):
                wire = await self._connected()
            async with asyncio.timeout(within_s):
                reply = await _asked(wire, commands)
        except (*FAILURES, SharedUnavailable) as error:
            is_elsewhere = isinstance(error, Refusal) and error.code in ELSEWHERE
            if isinstance(error, Refusal) and not is_elsewhere:
                raise
            await self._reset()
            raise SharedUnavailable("Redis cannot be reached") from error
        return reply

    def close(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()

    async def _connected(self) -> Wire:
        wire = self._wire
        if wire is None or not wire.is_open:
            wire = self._wire = await self._servers.connect(self._servers.place_of(self._key), _no_news)
        return wire

    async def _reset(self) -> None:
        self.close()
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._servers.refresh()
        except (*FAILURES, SharedUnavailable):
            return


async def _asked(wire: Wire, commands: tuple[Words, ...]) -> Any:
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Any]] = [loop.create_future() for _ in commands]
    wire.send(b"".join(map(pack, commands)), answers)
    reply = await answers[-1]
    if isinstance(reply, Refusal | Lost):
        raise reply
    return reply


def _no_news() -> None:
    """A connection that ended is noticed when it is used."""
