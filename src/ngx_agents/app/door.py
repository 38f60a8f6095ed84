"""Who may come in, and how long they may take: the bounds of connections, and the one look a second at all of them.

uvicorn bounds neither headers nor the time that headers, bodies and readers take. Nothing is timed for itself, which
would cost every request: `Door.look` sees what phase each connection is in and ends those that have been in it for too
long. Times are kept to a second.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any, Protocol

import msgspec

from ngx_agents.errors import TooSlow
from ngx_agents.telemetry.metrics import Metrics

BODY_GRACE_S = 10.0
LOOKS = 10
Network = IPv4Network | IPv6Network


class Phase(enum.Enum):
    """What a connection waits for: the rest of the headers, the rest of a body, or nothing of the client."""

    HEAD = "head"
    BODY = "body"
    OPEN = "open"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses of `exempt` networks may have as many as there are. Bounds are inclusive."""

    max_connections: int = 10_000
    max_per_address: int = 2_500
    header_bytes: int = 32_768
    header_s: float = 10.0
    body_bytes_per_s: int = 500
    body_grace_s: float = BODY_GRACE_S
    stalled_s: float = 30.0
    exempt: tuple[Network, ...] = ()


class Progress(msgspec.Struct):
    """What was seen of a connection at the last change of its phase: when (the event loop's seconds), and how many
    bytes had come by then. `request` is whatever tells one request from the next; `stalled_since_s` while it takes
    nothing.
    """

    since_s: float
    phase: Phase = Phase.HEAD
    request: object = None
    fed_bytes: int = 0
    stalled_since_s: float | None = None


class Watched(Protocol):
    """A connection, as the door sees it. `fed_bytes` are all that ever came."""

    progress: Progress
    fed_bytes: int
    scope: Any

    @property
    def phase(self) -> Phase: ...

    @property
    def is_ending(self) -> bool: ...

    def refuse(self, error: TooSlow) -> None: ...

    def cut(self) -> None: ...


class Door:
    """The connections of one process. One thread's. `looks` calls of `look` see all of them."""

    def __init__(self, bounds: Bounds, metrics: Metrics, now_s: Callable[[], float], *, looks: int = LOOKS) -> None:
        self.bounds = bounds
        self._looks = looks
        self.is_closing = False  # the server is leaving: connections are not kept
        self.now_s = now_s
        self._by_address: dict[str, int] = {}
        self._count = 0
        self._unseen: list[Watched] = []
        self._step = 0
        self._open = metrics.gauge("ngx_connections_open", "Client connections.").labels()
        refused = metrics.counter("ngx_connections_refused_total", "Connections ended by a bound.", "bound")
        reasons = ("connections", "address", "header_bytes", "header_time", "body_rate", "stalled")
        self.refused = {reason: refused.labels(reason) for reason in reasons}

    def enter(self, address: str | None) -> str | None:
        """Counts a connection in. The bound it is over, or None; `leave` is due in either case."""
        self._count += 1
        self._open.set(self._count)
        of_address = 0
        if address is not None:
            of_address = self._by_address[address] = self._by_address.get(address, 0) + 1
        if self._count > self.bounds.max_connections:
            return "connections"
        if address is not None and of_address > self.bounds.max_per_address and not self._is_exempt(address):
            return "address"
        return None

    def leave(self, address: str | None) -> None:
        self._count -= 1
        self._open.set(self._count)
        if address is not None:
            left = self._by_address.pop(address) - 1
            if left:
                self._by_address[address] = left

    def look(self, connections: Iterable[Watched]) -> None:
        """Looks at a part of them and ends what is overdue: at all, after `looks` calls, without a pause to be felt."""
        if not self._unseen:
            self._unseen = list(connections)
            self._step = -(-len(self._unseen) // self._looks)
        now_s = self.now_s()
        seen, self._unseen = self._unseen[: self._step], self._unseen[self._step :]
        for connection in seen:
            progress, phase = connection.progress, connection.phase
            if phase is not progress.phase or connection.scope is not progress.request:
                progress.phase, progress.request = phase, connection.scope
                progress.since_s, progress.fed_bytes = now_s, connection.fed_bytes
            reason = overdue(progress, connection.fed_bytes, self.bounds, now_s)
            if reason is not None:
                self._end(connection, reason)

    def _end(self, connection: Watched, reason: str) -> None:
        if connection.is_ending:  # refused before, and does not take the refusal
            connection.cut()
            return
        self.refused[reason].inc()
        if reason == "stalled":
            connection.cut()
        else:
            connection.refuse(TooSlow("headers or body did not come in time"))

    def _is_exempt(self, address: str) -> bool:
        return any(ip_address(address) in network for network in self.bounds.exempt)


def overdue(progress: Progress, fed_bytes: int, bounds: Bounds, now_s: float) -> str | None:
    """The bound of time that a connection is over, or None. `fed_bytes` are all that have come by now."""
    if progress.stalled_since_s is not None and now_s - progress.stalled_since_s > bounds.stalled_s:
        return "stalled"
    elapsed_s = now_s - progress.since_s
    if progress.phase is Phase.HEAD and elapsed_s > bounds.header_s:
        return "header_time"
    if progress.phase is Phase.BODY and elapsed_s > bounds.body_grace_s:
        return "body_rate" if fed_bytes - progress.fed_bytes < bounds.body_bytes_per_s * elapsed_s else None
    return None


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Raises ValueError for what is neither an address nor a network."""
    return tuple(ip_network(text) for text in texts)
