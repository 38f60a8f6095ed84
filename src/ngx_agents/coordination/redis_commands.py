"""Each command in the words of Redis, and its answer read back.

Values are read with their length bounded, whatever lies there. A value that is ours but damaged is erased, if it still
is what was read; what is foreign is left alone. Group `g` is kept in a sorted set of the keys by their expiry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ngx_agents.coordination import commands as c
from ngx_agents.coordination import scripts
from ngx_agents.coordination.bounds import hash_tag
from ngx_agents.coordination.envelope import HEAD_BYTES, is_damaged, seal, unseal
from ngx_agents.coordination.failures import Refusal
from ngx_agents.coordination.meters import Meters
from ngx_agents.coordination.switchboard import Switchboard
from ngx_agents.errors import SharedUnavailable

DROP_GROUP_S = 5.0


class RedisCommands:
    """`do` answers any command."""

    def __init__(self, switchboard: Switchboard, meters: Meters, prefix: str, *, max_value_bytes: int) -> None:
        self._switchboard = switchboard
        self._meters = meters
        self._prefix = prefix
        self._last_byte = max_value_bytes + HEAD_BYTES
        self._doing: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            c.Get: self._get, c.GetMany: self._get_many, c.GetVersioned: self._get_versioned, c.Put: self._put,
            c.PutNewer: self._put_newer, c.Drop: self._drop, c.DropGroup: self._drop_group, c.Reserve: self._reserve,
            c.Settle: self._settle, c.Count: self._count, c.Hold: self._hold,
        }  # fmt: skip

    def do(self, command: c.Command[Any]) -> Awaitable[Any]:
        return self._doing[type(command)](command)

    async def _get(self, command: c.Get) -> bytes | None:
        found = await self._read(command.key)
        return None if found is None else found.value

    async def _get_versioned(self, command: c.GetVersioned) -> c.Versioned | None:
        return await self._read(command.key)

    async def _get_many(self, command: c.GetMany) -> list[bytes | None]:
        found = await self._each([self._read(key) for key in command.keys])
        return [None if each is None else each.value for each in found]

    async def _read(self, key: str) -> c.Versioned | None:
        key = self._prefix + key
        try:
            stored = await self._switchboard.send(key, ("GETRANGE", key, 0, self._last_byte))
        except Refusal as error:
            if error.code != "WRONGTYPE":
                raise
            self._meters.corrupt()
            return None
        if not stored:
            return None
        found = unseal(stored)
        if found is None:
            self._meters.corrupt()
            if is_damaged(stored):
                await self._switchboard.run(scripts.DROP_IF, (key,), stored)
        return found

    async def _put(self, command: c.Put) -> None:
        key, sealed, ttl_ms = self._prefix + command.key, seal(command.value), _ms(command.ttl_s)
        if command.group is None:
            await self._switchboard.send(key, ("SET", key, sealed, "PX", ttl_ms))
            return
        group = self._group(command.group)
        if self._switchboard.servers.shares_place((key, group)):
            await self._switchboard.run(scripts.PUT, (key, group), sealed, ttl_ms)
            return
        await self._index(group, key, ttl_ms)
        await self._switchboard.send(key, ("SET", key, sealed, "PX", ttl_ms))
        await self._index(group, key, ttl_ms)

    async def _put_newer(self, command: c.PutNewer) -> bool:
        key, ttl_ms = self._prefix + command.key, _ms(command.ttl_s)
        sealed = seal(command.value, command.version)
        if command.group is None:
            return bool(await self._switchboard.run(scripts.PUT_NEWER, (key,), sealed, ttl_ms))
        group = self._group(command.group)
        if self._switchboard.servers.shares_place((key, group)):
            return bool(await self._switchboard.run(scripts.PUT_NEWER, (key, group), sealed, ttl_ms))
        await self._index(group, key, ttl_ms)
        is_stored = bool(await self._switchboard.run(scripts.PUT_NEWER, (key,), sealed, ttl_ms))
        await self._index(group, key, ttl_ms)
        return is_stored

    async def _index(self, group: str, key: str, ttl_ms: int) -> None:
        """Before the value, so that none is ever stored unknown; and after it, for the group dropped meanwhile."""
        await self._switchboard.run(scripts.INDEX, (group,), key, ttl_ms)

    async def _drop(self, command: c.Drop) -> int:
        return await self._unlink([self._prefix + key for key in command.keys])

    async def _unlink(self, keys: Sequence[str | bytes]) -> int:
        gone: list[int] = await self._each([self._switchboard.send(key, ("UNLINK", key)) for key in keys])
        return sum(gone)

    async def _drop_group(self, command: c.DropGroup) -> int:
        """The index is set aside first: it is worked through there, again after an error, and new keys do not join."""
        names = (self._group(command.group), self._group(command.group, "dropping"))
        erased = 0
        members: list[bytes] = []
        try:
            async with asyncio.timeout(DROP_GROUP_S):
                while members := await self._switchboard.run(scripts.DROP_GROUP, names, *members):
                    erased += await self._unlink(members)
        except TimeoutError:
            raise SharedUnavailable("the group is large: not all of it is erased yet") from None
        return erased

    async def _reserve(self, command: c.Reserve) -> c.Reserved:
        keys = tuple(self._prefix + bucket.key for bucket in command.buckets)
        numbers = [
            repr(float(number))
            for bucket in command.buckets
            for number in (bucket.capacity, bucket.refill_per_s, bucket.amount)
        ]
        wait_s, _, foreign = await self._switchboard.run(scripts.RESERVE, keys, *numbers)
        self._meters.corrupt(foreign)
        return c.Reserved(float(wait_s))

    async def _settle(self, command: c.Settle) -> float:
        bucket = command.bucket
        numbers = [repr(float(number)) for number in (bucket.capacity, bucket.refill_per_s, command.delta)]
        level, _, foreign = await self._switchboard.run(scripts.SETTLE, (self._prefix + bucket.key,), *numbers)
        self._meters.corrupt(foreign)
        return float(level)

    async def _count(self, command: c.Count) -> int:
        key = self._prefix + command.key
        total, foreign = await self._switchboard.run(scripts.COUNT, (key,), command.amount, _ms(command.ttl_s))
        self._meters.corrupt(foreign)
        return int(total)

    async def _hold(self, command: c.Hold) -> c.Held:
        numbers = (command.wanted, command.least, command.limit, _ms(command.lease_s))
        key = self._prefix + command.key
        held, others, foreign = await self._switchboard.run(scripts.HOLD, (key,), command.member, *numbers)
        self._meters.corrupt(foreign)
        return c.Held(int(held), int(others))

    def _group(self, group: str, use: str = "group") -> str:
        """The name of an index; both of a group lie in one place, which is that of the group's own `{tag}` if any."""
        tagged = group if hash_tag(group) != group else f"{{{group}}}"
        return f"{self._prefix}{use}:{tagged}"

    async def _each(self, asked: list[Awaitable[Any]]) -> list[Any]:
        """All answers, or the first error after all have come."""
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers


def _ms(ttl_s: float) -> int:
    return max(1, round(ttl_s * 1000))
