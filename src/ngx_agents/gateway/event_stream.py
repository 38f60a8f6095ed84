"""Server-sent events from a subscription to a client, on raw ASGI.

A stream begins with `retry:`; one that ends without its turn's end says it again, and the client comes back with the
last id it has. The turn never notices: a client that leaves ends only its own subscription. One small task per stream
waits for that; a client that takes nothing for `STALLED_S`, while heartbeats are due, is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from starlette.types import Receive

from ngx_agents.gateway.exchange import Exchange, Header
from ngx_agents.gateway.reconnects import Reconnects
from ngx_agents.turns.events import ELSEWHERE

STALLED_S = 60.0
RENEW_S = 20.0
HEADERS: tuple[Header, ...] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
)


class Readable(Protocol):
    """What the turn engine hands out to listen with."""

    async def read(self) -> bytes | None: ...

    def close(self) -> None: ...


class _ClientGoneError(Exception):
    """Ends the task group; nobody outside sees it."""


class EventStream:
    """What a handler leaves to be sent: whatever the subscription has until it ends or the client leaves.

    `translate` turns what was read into what is sent, for clients that do not reconnect; nothing is sent for an empty
    result.
    """

    __slots__ = ("_headers", "_subscription", "_translate")

    def __init__(
        self,
        subscription: Readable,
        *,
        headers: Sequence[Header] = (),
        translate: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._subscription = subscription
        self._headers = headers
        self._translate = translate

    async def send_to(self, exchange: Exchange, reconnects: Reconnects) -> None:
        """Closes the subscription in the end, whatever happens."""
        reconnects.opened()
        try:
            await exchange.start(200, (*HEADERS, *self._headers))
            exchange.forget_request()
            async with asyncio.TaskGroup() as group, asyncio.timeout(STALLED_S) as limit:
                watcher = group.create_task(_raise_when_gone(exchange.receive))
                await self._copy(exchange, limit, reconnects)
                watcher.cancel()
            await exchange.send({"type": "http.response.body", "body": b""})
        except* (_ClientGoneError, TimeoutError):
            pass
        finally:
            reconnects.closed()
            self._subscription.close()

    async def _copy(self, exchange: Exchange, limit: asyncio.Timeout, reconnects: Reconnects) -> None:
        now_s = asyncio.get_running_loop().time
        renew_at_s = 0.0
        prefix = reconnects.line()
        while (frames := await self._subscription.read()) is not None:
            if now_s() > renew_at_s:
                limit.reschedule(now_s() + STALLED_S)
                renew_at_s = now_s() + RENEW_S
            if self._translate is not None:
                frames = self._translate(frames)
            else:
                frames = (reconnects.line() if frames is ELSEWHERE else prefix) + frames
                prefix = b""
            if frames:
                await exchange.send({"type": "http.response.body", "body": frames, "more_body": True})


async def _raise_when_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise _ClientGoneError


def frames_of(chunk: bytes) -> Sequence[tuple[str, bytes]]:
    """The events of whole SSE frames as (name, data); comments and ids are left out."""
    events = []
    for block in chunk.split(b"\n\n"):
        name, data = "", b""
        for line in block.split(b"\n"):
            if line.startswith(b"event: "):
                name = line[7:].decode()
            elif line.startswith(b"data: "):
                data = line[6:]
        if name:
            events.append((name, data))
    return events
