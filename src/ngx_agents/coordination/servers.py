"""Which server holds a key, and how to get a connection to it. A place is `host:port`, or empty for the one master.

`OneServer` is standalone Redis and the master behind Sentinels; `ClusterServers` reads the cluster's own map.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeAlias

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import ResponseError

from ngx_agents.clock import Rng
from ngx_agents.coordination.address import Address
from ngx_agents.coordination.connections import connection_to, master_client
from ngx_agents.coordination.failures import FOREIGN
from ngx_agents.errors import SharedUnavailable

SLOTS = 16_384
ASK_NODE_S = 1.0
MAX_ASKED = 4


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

    async def connect(self, place: str) -> AbstractConnection:
        if self._master is not None:
            connection: AbstractConnection = self._master.connection_pool.make_connection()  # type: ignore[no-untyped-call]
        else:
            connection = connection_to(*self._address.hosts[0], self._address)
        return await connected(connection)

    async def connect_any(self) -> AbstractConnection:
        """For subscribing."""
        return await self.connect("")

    async def refresh(self) -> None:
        return

    async def close(self) -> None:
        if self._master is not None:
            await self._master.aclose()


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

    async def connect(self, place: str) -> AbstractConnection:
        host, _, port = place.rpartition(":")
        return await connected(connection_to(host, int(port), self._address))

    async def connect_any(self) -> AbstractConnection:
        nodes = self._nodes or list(self._address.hosts)
        host, port = nodes[self._rng.bits(16) % len(nodes)]
        return await connected(connection_to(host, port, self._address))

    @property
    def masters(self) -> set[str]:
        """Those that hold keys, as far as known."""
        return {place for place in self._places if place is not None}

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
            except FOREIGN:
                if index + 1 == len(nodes):
                    raise

    async def close(self) -> None:
        return

    async def _slots(self, host: str, port: int) -> list[Any]:
        connection = await connected(connection_to(host, port, self._address))
        try:
            await connection.send_command("CLUSTER", "SLOTS")
            told: list[Any] = await connection.read_response(disable_decoding=True)
        finally:
            await connection.disconnect(nowait=True)
        if not told:
            raise ResponseError("the node knows no slots")
        return told

    def _learn(self, told: list[Any], teller: str) -> None:
        places: list[str | None] = [None] * SLOTS
        nodes: dict[tuple[str, int], None] = {}
        for first, last, *holders in told:
            hosts = [(holder[0].decode() or teller, int(holder[1])) for holder in holders]
            nodes.update(dict.fromkeys(hosts))
            host, port = hosts[0]
            places[first : last + 1] = [f"{host}:{port}"] * (last + 1 - first)
        self._places = places
        self._nodes = list(nodes)


Servers: TypeAlias = "OneServer | ClusterServers"


async def connected(connection: AbstractConnection) -> AbstractConnection:
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py does not type it
    except BaseException:
        await connection.disconnect(nowait=True)
        raise
    return connection
