"""Parcels that were given up: what they were, and sending one again. For operators, beside running servers.

A parcel sent again goes one way: whoever asked has long been told that it failed.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from redis.exceptions import RedisClusterException, RedisError

from ngx_agents.a2a.carrier import Parcel
from ngx_agents.a2a.redis_keys import PARCEL, AgentKeys, agent_keys
from ngx_agents.a2a.redis_scripts import REPLAY
from ngx_agents.a2a.seal import Seal
from ngx_agents.clock import Clock
from ngx_agents.coordination.address import read_address
from ngx_agents.coordination.connections import Client, dedicated
from ngx_agents.errors import InvalidRequest, NotFound, SharedUnavailable


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """`reason`: attempts (each process that took it died), stale (put in again after its time), unreadable, forged
    (not by a process with our key). `parcel` is None unless it is ours and can be read."""

    id: str
    at_s: float
    reason: str
    parcel: Parcel | None


class DeadLetters:
    """Those of one agent."""

    def __init__(self, client: Client, keys: AgentKeys, seal: Seal, clock: Clock) -> None:
        self._client: Any = client  # redis-py's two clients have no common type
        self._keys = keys
        self._seal = seal
        self._clock = clock

    async def list(self, *, limit: int = 100) -> list[DeadLetter]:
        """The newest first. Raises SharedUnavailable."""
        with _translated():
            rows = await self._client.xrevrange(self._keys.dead, count=limit)
        return [self._letter(entry.decode(), fields) for entry, fields in rows]

    async def replay(self, letter_id: str, *, within_s: float) -> None:
        """Lets it wait for the agent again. Raises NotFound, InvalidRequest (not ours, unreadable),
        SharedUnavailable."""
        try:
            with _translated():
                rows = await self._client.xrange(self._keys.dead, min=letter_id, max=letter_id)
        except InvalidRequest:
            rows = []  # that is no id
        if not rows:
            raise NotFound(f"there is no dead letter {letter_id[:64]}")
        parcel = self._letter(letter_id, rows[0][1]).parcel
        if parcel is None:
            raise InvalidRequest(
                f"the dead letter {letter_id} is not one of ours that can be read, so it is not sent again"
            )
        again = msgspec.structs.replace(
            parcel, remaining_s=within_s, reply_to="", wants_reply=False, wants_pieces=False,
            posted_at_s=self._clock.now_s(),
        )  # fmt: skip
        packed = self._seal.closed(self._keys.queues[parcel.turn_class], PARCEL, msgspec.msgpack.encode(again))
        keys = (self._keys.dead, *self._keys.queues)
        with _translated():
            waits = await self._client.eval(REPLAY.text, len(keys), *keys, letter_id, parcel.turn_class + 1, packed)
        if not waits:
            raise NotFound(f"the dead letter {letter_id} was taken meanwhile")

    def _letter(self, entry: str, fields: dict[bytes, bytes]) -> DeadLetter:
        parcel: Parcel | None = None
        sealed = fields.get(PARCEL.encode(), b"")
        packed = next(filter(None, (self._seal.opened(queue, PARCEL, sealed) for queue in self._keys.queues)), b"")
        with contextlib.suppress(msgspec.MsgspecError):
            parcel = msgspec.msgpack.decode(packed, type=Parcel)
        reason = fields.get(b"why", b"").decode("utf-8", "replace")
        return DeadLetter(id=entry, at_s=int(entry.partition("-")[0]) / 1000.0, reason=reason, parcel=parcel)


@asynccontextmanager
async def dead_letters(url: str, agent: str, *, keys: Sequence[bytes], clock: Clock) -> AsyncIterator[DeadLetters]:
    """`keys` are the secrets of the processes that send them. Raises ConfigError, SharedUnavailable."""
    seal = Seal(keys)
    client = await dedicated(url)
    try:
        yield DeadLetters(client, agent_keys(read_address(url).namespace, agent), seal, clock)
    finally:
        await client.aclose()


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except RedisError as error:
        if "Invalid stream ID" in str(error):
            raise InvalidRequest("that is no id of a dead letter") from error
        raise SharedUnavailable("Redis does not answer") from error
    except (RedisClusterException, OSError) as error:
        raise SharedUnavailable("Redis does not answer") from error
