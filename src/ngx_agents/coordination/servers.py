"""Which server holds a key, and how to get a connection to it. A place is `host:port`, or empty for the one master.

`OneServer` is standalone Redis and the master behind Sentinels; `ClusterServers` reads the cluster's own map.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

from redis.crc import key_slot
from redis.exceptions import RedisError

from ngx_agents.clock import Rng
from ngx_agents.coordination.address import Address
from ngx_agents.coordination.connections import master_client
from ngx_agents.coordination.failures import FAILURES, Lost
from ngx_agents.coordination.wire import Wire, connect
from ngx_agents.errors import SharedUnavailable

SLOTS = 16_384
ASK_NODE_S = 1.0
MAX_ASKED = 4
OnEnd: TypeAlias = "Callable[[], None]"
OnUnasked: TypeAlias = "Callable[[Any], None]"


class OneServer:
    """One master, wherever it is."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._master = master_client(address) if address.kind == "sentinel" else None

    def place_of(self, key: str | bytes) -> str:
        return ""

    def shares_place(self, keys: tuple[str, ...]) -> bool:
        """Whether one script may touch them all."""
        return True

    async def connect(self, place: str, on_end: OnEnd) -> Wire:
        host, port = await self._find()
        return await connect(host, port, self._address, on_end=on_end)

    async def connect_any(self, on_end: OnEnd | None = None, on_unasked: OnUnasked | None = None) -> Wire:
        """For subscribing."""
        host, port = await self._find()
        return await connect(host, port, self._address, on_end=on_end, on_unasked=on_unasked)

    async def refresh(self) -> None:
        return

    async def close(self) -> None:
        if self._master is not None:
            await self._master.aclose()

    async def _find(self) -> tuple[str, int]:
        if self._master is None:
            return self._address.hosts[0]
        try:
            return await self._master.address()
        except RedisError as error:
            raise Lost from error


class ClusterServers:
    """Masters by slot, as one of the nodes last told it."""

    def __init__(self, address: Address, *, rng: Rng) -> None:
        self._address = address
        self._rng = rng
        self._places: list[str | None] = [None] * SLOTS
        self._nodes: list[tuple[str, int]] = []

    def place_of(self, key: str | bytes) -> str:
        """Raises SharedUnavailable when nobody is known to hold it."""
        place = self._places[key_slot(key.encode() if isinstance(key, str) else key)]
        if place is None:
            raise SharedUnavailable("no node of the Redis cluster is known to hold the key")
        return place

    def shares_place(self, keys: tuple[str, ...]) -> bool:
        return len({key_slot(key.encode()) for key in keys}) == 1

    @property
    def masters(self) -> set[str]:
        """Those that hold keys, as far as known."""
        return {place for place in self._places if place is not None}

    async def connect(self, place: str, on_end: OnEnd) -> Wire:
        host, _, port = place.rpartition(":")
        return await connect(host, int(port), self._address, on_end=on_end)

    async def connect_any(self, on_end: OnEnd | None = None, on_unasked: OnUnasked | None = None) -> Wire:
        """To any node: all of them hear what is published anywhere."""
        nodes = self._nodes or list(self._address.hosts)
        host, port = nodes[self._rng.bits(16) % len(nodes)]
        return await connect(host, port, self._address, on_end=on_end, on_unasked=on_unasked)

    async def refresh(self) -> None:
        """Asks a few of the known nodes, then those of the URL, until one tells. Raises what the last one raised."""
        known = self._nodes[:]
        start = self._rng.bits(16) % len(known) if known else 0
        nodes = [*(known[start:] + known[:start])[:MAX_ASKED], *self._address.hosts]
        for index, (host, port) in enumerate(nodes):
            try:
                async with asyncio.timeout(ASK_NODE_S):
                    self._learn(await self._slots(host, port), host)
                return
            except FAILURES:
                if index + 1 == len(nodes):
                    raise

    async def close(self) -> None:
        return

    async def _slots(self, host: str, port: int) -> list[Any]:
        wire = await connect(host, port, self._address)
        try:
            told: list[Any] = await wire.ask("CLUSTER", "SLOTS")
        finally:
            wire.abort()
        if not told:
            raise Lost
        return told

    def _learn(self, told: list[Any], teller: str) -> None:
        places: list[str | None] = [None] * SLOTS
        nodes: dict[tuple[str, int], None] = {}
        for first, last, *holders in told:
            hosts = [((holder[0] or b"").decode() or teller, int(holder[1])) for holder in holders]
            nodes.update(dict.fromkeys(hosts))
            host, port = hosts[0]
            places[first : last + 1] = [f"{host}:{port}"] * (last + 1 - first)
        self._places = places
        self._nodes = list(nodes)


Servers: TypeAlias = "OneServer | ClusterServers"
