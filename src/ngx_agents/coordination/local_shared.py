"""What instances share, when there is one: the same behaviour in this process, bounded in entries and bytes.

The least recently used entry goes first when room is needed, of whatever kind: a bucket that goes is full again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar, cast

from ngx_agents.clock import Clock
from ngx_agents.coordination import buckets as b
from ngx_agents.coordination import commands as c
from ngx_agents.coordination.bounds import MAX_VALUE_BYTES, check, check_key, check_payload
from ngx_agents.coordination.fanout import Fanout
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics

R = TypeVar("R")
MAX_ENTRIES = 100_000
MAX_BYTES = 64 * 2**20
ENTRY_OVERHEAD_BYTES = 200
_Leases = dict[str, tuple[int, float]]
"""How many places each member holds, and until when."""
_Content = c.Versioned | b.Level | int | _Leases


class _Entry:
    """`content`: Versioned, Level, int or leases, by kind."""

    __slots__ = ("content", "expires_at_s", "group", "size_bytes")

    def __init__(self, content: _Content, expires_at_s: float, *, size_bytes: int) -> None:
        self.content = content
        self.expires_at_s = expires_at_s
        self.group: str | None = None
        self.size_bytes = size_bytes + ENTRY_OVERHEAD_BYTES


class LocalShared:
    """`max_entries` and `max_bytes` (values, keys, 200 bytes each for the rest) bound everything that is kept."""

    def __init__(
        self,
        clock: Clock,
        *,
        metrics: Metrics | None = None,
        max_value_bytes: int = MAX_VALUE_BYTES,
        max_entries: int = MAX_ENTRIES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._now_s = clock.monotonic_s
        self._max_value_bytes = max_value_bytes
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._groups: dict[str, dict[str, None]] = {}
        self._fanout = Fanout(metrics or Metrics())
        self._is_closed = False
        self._doing: dict[type[Any], Callable[[Any], Any]] = {
            c.Get: self._get, c.GetMany: self._get_many, c.GetVersioned: self._get_versioned, c.Put: self._put,
            c.PutNewer: self._put_newer, c.Drop: self._drop, c.DropGroup: self._drop_group, c.Reserve: self._reserve,
            c.Settle: self._settle, c.Count: self._count, c.Hold: self._hold,
        }  # fmt: skip

    async def open(self) -> None:
        return

    async def close(self) -> None:
        self._is_closed = True
        self._fanout.close()

    async def ask(self, command: c.Command[R]) -> R:
        self._require_open()
        check(command, max_value_bytes=self._max_value_bytes)
        return cast(R, self._doing[type(command)](command))

    async def publish(self, channel: str, payload: bytes) -> None:
        self._require_open()
        check_key(channel, "channel")
        check_payload(payload, max_value_bytes=self._max_value_bytes)
        self._fanout.deliver(channel, payload)

    def listen(self, channel: str) -> AsyncIterator[bytes]:
        check_key(channel, "channel")
        return self._fanout.listen(channel)

    def _require_open(self) -> None:
        if self._is_closed:
            raise SharedUnavailable("what instances share is closed")

    def _get(self, command: c.Get) -> bytes | None:
        entry = self._value(command.key)
        return None if entry is None else entry.value

    def _get_many(self, command: c.GetMany) -> list[bytes | None]:
        return [self._get(c.Get(key)) for key in command.keys]

    def _get_versioned(self, command: c.GetVersioned) -> c.Versioned | None:
        return self._value(command.key)

    def _put(self, command: c.Put) -> None:
        self._store(command, version=0)

    def _put_newer(self, command: c.PutNewer) -> bool:
        stored = self._value(command.key)
        if stored is not None and stored.version >= command.version:
            return False
        self._store(command, version=command.version)
        return True

    def _store(self, command: c.Put | c.PutNewer, *, version: int) -> None:
        content = c.Versioned(version, command.value)
        self._keep(command.key, content, command.ttl_s, size_bytes=len(command.value), group=command.group)

    def _drop(self, command: c.Drop) -> int:
        return sum(self._forget(key) for key in command.keys if self._find(key) is not None)

    def _drop_group(self, command: c.DropGroup) -> int:
        return self._drop(c.Drop(tuple(self._groups.get(command.group, ()))))

    def _reserve(self, command: c.Reserve) -> c.Reserved:
        levels = [self._level(bucket.key) for bucket in command.buckets]
        wait_s, after = b.reserve(levels, command.buckets, self._now_us())
        for bucket, level in zip(command.buckets, after, strict=True):
            self._keep(bucket.key, level, b.keep_s(level, bucket))
        return c.Reserved(wait_s)

    def _settle(self, command: c.Settle) -> float:
        bucket = command.bucket
        level = b.settle(self._level(bucket.key), bucket, command.delta, self._now_us())
        self._keep(bucket.key, level, b.keep_s(level, bucket))
        return level.tokens

    def _count(self, command: c.Count) -> int:
        entry = self._find(command.key)
        if entry is None or not isinstance(entry.content, int):
            self._keep(command.key, command.amount, command.ttl_s)
            return command.amount
        entry.content += command.amount
        return entry.content

    def _hold(self, command: c.Hold) -> c.Held:
        entry, now_s = self._find(command.key), self._now_s()
        found = entry.content if entry is not None and isinstance(entry.content, dict) else {}
        leases = {name: lease for name, lease in found.items() if lease[1] > now_s and name != command.member}
        others = sum(count for count, _ in leases.values())
        held = max(command.least, min(command.wanted, command.limit - others))
        if held > 0:
            leases[command.member] = (held, now_s + command.lease_s)
        ends_in_s = max((until_s - now_s for _, until_s in leases.values()), default=0.0)
        self._keep(command.key, leases, ends_in_s, size_bytes=ENTRY_OVERHEAD_BYTES * len(leases))
        return c.Held(held, others)

    def _now_us(self) -> int:
        return int(self._now_s() * 1e6)

    def _value(self, key: str) -> c.Versioned | None:
        entry = self._find(key)
        return entry.content if entry is not None and isinstance(entry.content, c.Versioned) else None

    def _level(self, key: str) -> b.Level | None:
        entry = self._find(key)
        return entry.content if entry is not None and isinstance(entry.content, b.Level) else None

    def _find(self, key: str) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires_at_s <= self._now_s():
            self._forget(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _keep(
        self,
        key: str,
        content: _Content,
        ttl_s: float,
        *,
        size_bytes: int = 0,
        group: str | None = None,
    ) -> None:
        former = self._entries.get(key)
        # as in Redis: a key once in a group stays in it while it is there
        group = group if group is not None or former is None else former.group
        self._forget(key)
        entry = _Entry(content, self._now_s() + ttl_s, size_bytes=size_bytes + len(key))
        self._entries[key] = entry
        self._size_bytes += entry.size_bytes
        if group is not None:
            entry.group = group
            self._groups.setdefault(group, {})[key] = None
        while len(self._entries) > self._max_entries or self._size_bytes > self._max_bytes:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self._size_bytes -= entry.size_bytes
        if entry.group is not None:
            keys = self._groups[entry.group]
            del keys[key]
            if not keys:
                del self._groups[entry.group]
        return True
