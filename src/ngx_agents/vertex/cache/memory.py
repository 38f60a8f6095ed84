"""The memory tier: least recently used out first, bounded in entries and in bytes, each entry with its own life.

Everything happens between two awaits of one event loop, so there is no lock to wait for: an eviction takes the entry
at the old end, whatever the load, and never looks through the others. Time is monotonic: a jump of the wall clock
makes nothing older or younger here.
"""

from __future__ import annotations

from collections import OrderedDict

from ngx_agents.clock import Clock
from ngx_agents.vertex.cache.entry import Entry
from ngx_agents.vertex.cache.measures import CacheMeasures


class Lying:
    """An entry as it lies in memory. `born_s` and `checked_s` are monotonic; see `CacheKey` for the group."""

    __slots__ = ("born_s", "checked_s", "entry", "group", "size_bytes", "until_s")

    def __init__(self, entry: Entry, *, born_s: float, group: str | None, checked_s: float) -> None:
        self.entry = entry
        self.born_s = born_s
        self.until_s = born_s + entry.kept_s
        self.size_bytes = entry.size_bytes
        self.group = group
        self.checked_s = checked_s


class AnswerMemory:
    """`max_entries` and `max_bytes` hold together; an entry larger than all of it is not taken."""

    def __init__(self, *, max_entries: int, max_bytes: int, clock: Clock, measures: CacheMeasures) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._clock = clock
        self._measures = measures
        self._entries: OrderedDict[bytes, Lying] = OrderedDict()
        self._groups: dict[str, set[bytes]] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    def get(self, digest: bytes) -> Lying | None:
        """The entry, as long as it is of any use; it is now the most recently used one."""
        found = self._entries.get(digest)
        if found is None:
            return None
        if self._clock.monotonic_s() >= found.until_s:
            self.drop(digest)
            self._measures.evicted("expired")
            return None
        self._entries.move_to_end(digest)
        return found

    def put(self, digest: bytes, lying: Lying) -> bool:
        """Takes it in the place of what was there; False when it is too large or of no use any more."""
        if digest in self._entries:
            self._remove(digest)
        is_fit = lying.size_bytes <= self._max_bytes and self._max_entries > 0
        if is_fit and self._clock.monotonic_s() < lying.until_s:
            self._entries[digest] = lying
            self._size_bytes += lying.size_bytes
            if lying.group is not None:
                self._groups.setdefault(lying.group, set()).add(digest)
            self._evict()
            self._measures.holds(len(self._entries), self._size_bytes)
            return True
        self._measures.holds(len(self._entries), self._size_bytes)
        return False

    def drop(self, digest: bytes) -> bool:
        """Whether it was there."""
        if digest not in self._entries:
            return False
        self._remove(digest)
        self._measures.holds(len(self._entries), self._size_bytes)
        return True

    def drop_group(self, group: str) -> int:
        """How many entries of the group there were; none is left."""
        digests = self._groups.get(group, set()).copy()
        for digest in digests:
            self._remove(digest)
        self._measures.holds(len(self._entries), self._size_bytes)
        return len(digests)

    def clear(self) -> None:
        self._entries.clear()
        self._groups.clear()
        self._size_bytes = 0
        self._measures.holds(0, 0)

    def _evict(self) -> None:
        while len(self._entries) > self._max_entries:
            self._remove(next(iter(self._entries)))
            self._measures.evicted("entries")
        while self._size_bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))
            self._measures.evicted("bytes")

    def _remove(self, digest: bytes) -> None:
        gone = self._entries.pop(digest)
        self._size_bytes -= gone.size_bytes
        if gone.group is None:
            return
        digests = self._groups[gone.group]
        digests.discard(digest)
        if not digests:
            del self._groups[gone.group]
