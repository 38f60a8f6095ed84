"""Which server holds a key, and how to get a connection to it. A place is `host:port`, or empty for the one master.

`OneServer` is standalone Redis, `SentinelServers` the master behind Sentinels; `ClusterServers` reads the map that the
cluster has of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from redis.crc import key_slot
from typing_extensions import override

from ngx_agents.clock import Rng
from ngx_agents.coordination.address import Address
from ngx_agents.coordination.failures import FAILURES, Lost
from ngx_agents.coordination.wire import Dialler, Wire
from ngx_agents.errors import SharedUnavailable

SLOTS = 16_384
ASK_NODE_S = 1.0
ASK_SENTINEL_S = 0.5
MAX_ASKED = 4
OnEnd: TypeAlias = "Callable[[], None]"
OnUnasked: TypeAlias = "Callable[[Any], None]"


class OneServer:
    """One master."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.dialler = Dialler(address)

    def place_of(self, key: str | bytes) -> str:
        return ""

    def shares_place(self, keys: tuple[str, ...]) -> bool:
        """Whether one script may touch them all."""
        return True

    async def connect(self, place: str, on_end: OnEnd) -> Wire:
        return await self.connect_any(on_end)

    async def connect_any(self, on_end: OnEnd | None = None, on_unasked: OnUnasked | None = None) -> Wire:
        """For subscribing."""
        host, port = self._address.hosts[0]
        return await self.dialler.connect(host, port, on_end=on_end, on_unasked=on_unasked)

    async def refresh(self) -> None:
        return


class SentinelServers(OneServer):
    """The master that the Sentinels name. One of them may be behind: the server itself is asked what it is."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._sentinels = list(address.hosts)
        self._to_sentinels = Dialler(
            replace(address, user=address.sentinel_user, password=address.sentinel_password, database=0)
        )

    @override
    async def connect_any(self, on_end: OnEnd | None = None, on_unasked: OnUnasked | None = None) -> Wire:
        failure: Exception = Lost()
        for sentinel in tuple(self._sentinels):
            try:
                wire = await self._connect_through(sentinel, on_end, on_unasked)
            except FAILURES as error:
                failure = error
                self._sentinels.remove(sentinel)
                self._sentinels.append(sentinel)  # asked last from now on
            else:
                return wire
        raise failure

    async def _connect_through(
        self, sentinel: tuple[str, int], on_end: OnEnd | None, on_unasked: OnUnasked | None
    ) -> Wire:
        async with asyncio.timeout(ASK_SENTINEL_S):
            asked = await self._to_sentinels.connect(*sentinel)
            try:
                named = await asked.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.service)
            finally:
                asked.abort()
        if named is None:
            raise Lost
        async with asyncio.timeout(ASK_NODE_S):
            wire = await self.dialler.connect(named[0].decode(), int(named[1]), on_end=on_end, on_unasked=on_unasked)
            try:
                is_master = (await wire.ask("ROLE"))[0] == b"master"
            except BaseException:
                wire.abort()
                raise
        if not is_master:
            wire.abort()
            raise Lost
        return wire


class ClusterServers:
    """Masters by slot, as one of the nodes last told it."""

    def __init__(self, address: Address, *, rng: Rng) -> None:
        self._address = address
        self.dialler = Dialler(address)
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
        return await self.dialler.connect(host, int(port), on_end=on_end)

    async def connect_any(self, on_end: OnEnd | None = None, on_unasked: OnUnasked | None = None) -> Wire:
        """To any node: all of them hear what is published anywhere."""
        nodes = self._nodes or list(self._address.hosts)
        host, port = nodes[self._rng.bits(16) % len(nodes)]
        return await self.dialler.connect(host, port, on_end=on_end, on_unasked=on_unasked)

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

    async def _slots(self, host: str, port: int) -> list[Any]:
        wire = await self.dialler.connect(host, port)
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


def servers_of(address: Address, *, rng: Rng) -> Servers:
    match address.kind:
        case "standalone":
            return OneServer(address)
        case "sentinel":
            return SentinelServers(address)
        case "cluster":
            return ClusterServers(address, rng=rng)
