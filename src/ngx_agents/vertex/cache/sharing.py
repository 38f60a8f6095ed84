"""The tier that instances share: entries by key, and for each user the mark of the last erasure.

An erasure first sets a new mark, then drops the user's entries. An entry names the mark that was known when its
question was asked; under another mark it is not given out, and whoever wrote it sees the new mark right after the
write and drops it. So no write that an erasure overtakes survives, on any instance. A mark tells its time: while it is
fresh (`GRACE_S`) nothing of the user is stored. Every method raises SharedUnavailable and SharedRefused.
"""

from __future__ import annotations

from secrets import token_bytes
from struct import Struct

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import DropGroup, Get, GetMany, Put
from ngx_agents.coordination.shared import Shared
from ngx_agents.vertex.cache.entry import Entry, decode
from ngx_agents.vertex.cache.erasures import GRACE_S
from ngx_agents.vertex.cache.key import SCHEMA, CacheKey, KeyMaker
from ngx_agents.vertex.cache.marks import Marks
from ngx_agents.vertex.cache.measures import CacheMeasures
from ngx_agents.vertex.cache.memory import Lying
from ngx_agents.vertex.cache.rules import MAX_STALE_S, MAX_TTL_S

NEVER_ERASED = b""
MARK = Struct(">d8s")  # when, in seconds since the Unix epoch, and what makes it unlike any other
MARK_S = MAX_TTL_S + MAX_STALE_S + 86_400.0  # outlives every entry


class SharedAnswers:
    """`maker` signs what is stored and checks what is found."""

    def __init__(self, shared: Shared, maker: KeyMaker, *, clock: Clock, measures: CacheMeasures) -> None:
        self._shared = shared
        self._maker = maker
        self._clock = clock
        self._measures = measures
        self._marks = Marks(clock)

    async def get(self, key: CacheKey) -> Lying | None:
        """The entry, aged by the wall clock. A user's key learns the mark, and when it was read."""
        value = await (self._read(key) if key.group is None else self._read_of_user(key, key.group))
        if value is None:
            return None
        now_s = self._clock.now_s()
        entry = decode(value, key, self._maker, now_s=now_s)
        if entry is None:
            self._measures.foreign()
            return None
        if key.group is not None and entry.generation != key.generation:
            return None
        age_s = max(0.0, now_s - entry.written_at_s)
        if age_s >= entry.kept_s:
            return None
        born_s = self._clock.monotonic_s() - age_s
        return Lying(entry, born_s=born_s, group=key.group, checked_s=key.checked_s)

    async def _read(self, key: CacheKey) -> bytes | None:
        return await self._shared.ask(Get(_entry_name(key)))

    async def _read_of_user(self, key: CacheKey, group: str) -> bytes | None:
        seen = self._marks.trusted(group)
        if seen is not None:
            key.generation, key.checked_s = seen
            return await self._read(key)
        asked_s = self._clock.monotonic_s()
        value, mark = await self._shared.ask(GetMany((_entry_name(key), _mark_name(group))))
        self._marks.note(group, mark or NEVER_ERASED, asked_s)
        key.generation, key.checked_s = mark or NEVER_ERASED, asked_s
        return value

    async def put(self, key: CacheKey, entry: Entry, value: bytes) -> bool:
        """Stores it; False when its user has just been erased, and then nothing of the user is left."""
        if key.group is None:
            await self._shared.ask(Put(_entry_name(key), value, entry.kept_s))
            return True
        if self._is_fresh_mark(entry.generation):
            return False
        await self._shared.ask(Put(_entry_name(key), value, entry.kept_s, _group_name(key.group)))
        asked_s = self._clock.monotonic_s()
        mark = await self._shared.ask(Get(_mark_name(key.group))) or NEVER_ERASED
        self._marks.note(key.group, mark, asked_s)
        if mark != entry.generation:
            await self._shared.ask(DropGroup(_group_name(key.group)))
            return False
        key.checked_s = asked_s
        return True

    async def erase(self, group: str) -> int:
        """How many entries there were. Repeatable: after an error it is called again."""
        self._marks.forget(group)
        mark = MARK.pack(self._clock.now_s(), token_bytes(8))
        await self._shared.ask(Put(_mark_name(group), mark, MARK_S))
        return await self._shared.ask(DropGroup(_group_name(group)))

    def _is_fresh_mark(self, mark: bytes) -> bool:
        if len(mark) != MARK.size:
            return False
        at_s: float = MARK.unpack(mark)[0]
        return abs(self._clock.now_s() - at_s) < GRACE_S


def _entry_name(key: CacheKey) -> str:
    if key.group is None:
        return f"answer:{SCHEMA}:{key.digest.hex()}"
    return f"answer:{SCHEMA}:{{{key.group}}}:{key.digest.hex()}"


def _mark_name(group: str) -> str:
    return f"answer:{SCHEMA}:{{{group}}}:erased"


def _group_name(group: str) -> str:
    return f"answer:{SCHEMA}:{{{group}}}"
