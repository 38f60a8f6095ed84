"""Many databases as one Journal: 256 logical shards by user, each on one server, each movable while in use.

A command or question goes to the server that has its shard; what concerns all goes to all, a few at a time. Each server
is asked every `refresh_s` what it says of its shards. A read is answered by a server only if no move can have been
finished unseen: it said so itself less than `lease_s` ago, or all the others did. A write needs no such care: a server
refuses those of a shard that it has not (`ShardMoved`); they are told to the new one, within `move_wait_s`. One server
that is away concerns its own shards alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable, NgxError, ShardMoved
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.sharded_answers import joined
from ngx_agents.state.sharded_map import ShardMap
from ngx_agents.state.sharded_routes import shard_for
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

log = event_log("state")


class ShardSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`lease_s` must be the mover's too: it waits so long before a moved shard takes writes."""

    refresh_s: float = 0.5
    lease_s: float = 2.0
    ask_s: float = 1.0
    move_wait_s: float = 15.0
    look_again_s: float = 0.05


class ShardedJournal:
    """`journals` by the names that the map uses; each may have its own tiers, replicas and failover."""

    def __init__(
        self,
        places: ShardMap,
        journals: Mapping[str, Journal],
        *,
        clock: Clock,
        metrics: Metrics | None = None,
        settings: ShardSettings | None = None,
    ) -> None:
        self.map = places
        self._journals = dict(journals)
        self._clock = clock
        self._settings = settings or ShardSettings()
        self._heard_s = dict.fromkeys(self._journals, float("-inf"))
        self._asking: dict[str, asyncio.Lock] = {name: asyncio.Lock() for name in self._journals}
        self._next_claim = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._watching: list[asyncio.Task[None]] = []
        moved = (metrics or Metrics()).counter("ngx_shard_moved_total", "Commands that met a moving shard.")
        self._moved = moved.labels()

    async def open(self) -> None:
        """Raises what a server's `open` raises: one that may be away needs a LateJournal."""
        opened: list[Journal] = []
        try:
            for journal in self._journals.values():
                await journal.open()
                opened.append(journal)
        except BaseException:
            for journal in opened:
                await journal.close()
            raise
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            for watching in self._watching:
                watching.cancel()
            await tasks.__aexit__(None, None, None)
        for journal in self._journals.values():
            await journal.close()

    async def migrate(self) -> int:
        """The lowest version among the servers; then what they say of their shards is followed."""
        versions = [await journal.migrate() for journal in self._journals.values()]
        await asyncio.gather(*(self._hear(name) for name in self._journals))
        if self._tasks is not None and not self._watching:
            self._watching = [self._tasks.create_task(self._watch(name)) for name in self._journals]
        return min(versions)

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        results: list[Any] = [None] * len(commands)
        groups: dict[int | None, list[int]] = {}
        for index, command in enumerate(commands):
            groups.setdefault(shard_for(command), []).append(index)
        if not commands:
            await self._on_all(lambda journal: journal.transact([]))
        failures = 0
        for shard, indexes in groups.items():
            told = [commands[index] for index in indexes]
            try:
                found = await (self._told_all(told) if shard is None else self._told(shard, told))
            except JournalUnavailable as error:
                found, failures = [error] * len(told), failures + 1
            for index, result in zip(indexes, found, strict=True):
                results[index] = result
        if groups and failures == len(groups):
            raise results[0]
        return results

    async def query(self, question: c.Question) -> Any:
        shard = shard_for(question)
        if shard is None:
            return joined(question, await self._on_all(lambda journal: journal.query(question)))
        return await self._journals[await self._sure_place(shard)].query(question)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        """An equal share of every server, the rest by turns. Raises JournalUnavailable when none can be reached."""
        names = list(self._journals)
        self._next_claim = (self._next_claim + 1) % len(names)
        ordered = names[self._next_claim :] + names[: self._next_claim]
        shares = {name: limit // len(names) + (place < limit % len(names)) for place, name in enumerate(ordered)}
        found = await asyncio.gather(*(self._share(name, shares[name], instance, now) for name in ordered))
        if all(isinstance(one, NgxError) for one in found):
            raise JournalUnavailable("no server of the journal can be reached", retry_after_s=2.0)
        grants = [grant for one in found if not isinstance(one, NgxError) for grant in one]
        for name, one in zip(ordered, found, strict=True):
            if len(grants) < limit and not isinstance(one, NgxError) and len(one) == shares[name]:
                more = await self._share(name, limit - len(grants), instance, now)
                grants.extend(more if not isinstance(more, NgxError) else ())
        return grants

    async def _share(self, name: str, limit: int, instance: str, now: float) -> list[c.Grant] | NgxError:
        if limit == 0:
            return []
        try:
            return await self._journals[name].claim(limit, instance=instance, now=now)
        except (JournalUnavailable, ShardMoved) as error:
            return error

    async def _told(self, shard: int, commands: Sequence[c.Command]) -> list[Any]:
        """Results of the commands of one shard, in order, wherever it goes meanwhile. Raises JournalUnavailable."""
        results: list[Any] = [None] * len(commands)
        waiting = list(range(len(commands)))
        until_s = self._clock.monotonic_s() + self._settings.move_wait_s
        while True:
            name = self.map.place_of(shard)
            found = await self._journals[name].transact([commands[index] for index in waiting])
            for index, result in zip(waiting, found, strict=True):
                results[index] = result
            waiting = [index for index in waiting if isinstance(results[index], ShardMoved)]
            if not waiting:
                return results
            self._moved.inc(len(waiting))
            if self._clock.monotonic_s() >= until_s:
                raise JournalUnavailable("the conversation's shard is being moved", retry_after_s=2.0)
            await self._clock.sleep(self._settings.look_again_s)
            await asyncio.gather(*(self._hear(one) for one in self._journals))

    async def _told_all(self, commands: Sequence[c.Command]) -> list[Any]:
        """What concerns every server: one joined result for each command. Raises JournalUnavailable when none hears."""
        found = await self._on_all(lambda journal: journal.transact(commands))
        return [
            joined(command, [one if isinstance(one, NgxError) else one[index] for one in found])
            for index, command in enumerate(commands)
        ]

    async def _on_all(self, call: Callable[[Journal], Any]) -> list[Any]:
        """One answer for each server, JournalUnavailable in the place of one that is away. Raises it when all are."""

        async def of(journal: Journal) -> Any:
            try:
                return await call(journal)
            except JournalUnavailable as error:
                return error

        found = await asyncio.gather(*(of(journal) for journal in self._journals.values()))
        if all(isinstance(one, JournalUnavailable) for one in found):
            raise found[0]
        return list(found)

    async def _sure_place(self, shard: int) -> str:
        """Where the shard is, for certain. Raises JournalUnavailable when that cannot be known now."""
        name = self.map.place_of(shard)
        if self._is_fresh(name):
            return name
        await self._hear(name)
        name = self.map.place_of(shard)
        if self._is_fresh(name):
            return name
        others = [one for one in self._journals if one != name]
        await asyncio.gather(*(self._hear(one) for one in others if not self._is_fresh(one)))
        name = self.map.place_of(shard)
        if self._is_fresh(name) or (
            all(self._is_fresh(one) for one in others if one != name)
            and not self.map.is_arriving(shard)
            and self.map.has_arrived(shard, name)  # else its standbys may not have it yet
        ):
            return name
        raise JournalUnavailable("where the conversation's shard is cannot be known now", retry_after_s=2.0)

    def _is_fresh(self, name: str) -> bool:
        return self._clock.monotonic_s() - self._heard_s[name] < self._settings.lease_s

    async def _hear(self, name: str) -> None:
        """Asks a server what it says of its shards; what it said before stays when it does not answer."""
        came_s = self._clock.monotonic_s()
        async with self._asking[name]:
            if self._heard_s[name] >= came_s:
                return  # somebody asked after we came
            began_s = self._clock.monotonic_s()
            try:
                async with asyncio.timeout(self._settings.ask_s):
                    told = await self._journals[name].query(c.ListShardPlaces())
            except (NgxError, TimeoutError):
                return
            self.map.hear(name, told)
            self._heard_s[name] = began_s

    async def _watch(self, name: str) -> None:
        while True:
            await self._clock.sleep(self._settings.refresh_s)
            await self._hear(name)
