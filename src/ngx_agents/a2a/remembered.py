"""Message ids seen lately, so that a message delivered twice is worked on once. Bounded in number and in age."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

MAX_REMEMBERED = 4096
REMEMBERED_S = 120.0
Key = tuple[str, str]


class Remembered:
    """Replies by (agent, message id). Failures are forgotten at once: whoever sends again wants another try."""

    def __init__(self, *, capacity: int = MAX_REMEMBERED, ttl_s: float = REMEMBERED_S) -> None:
        self._capacity = capacity
        self._ttl_s = ttl_s
        self._entries: OrderedDict[Key, tuple[float, asyncio.Future[object]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now_s: float) -> asyncio.Future[object] | None:
        """The reply that is there or on its way."""
        found = self._entries.get(key)
        if found is None:
            return None
        entered_s, reply = found
        is_stale = reply.done() and (
            now_s - entered_s > self._ttl_s or reply.cancelled() or reply.exception() is not None
        )
        if is_stale:
            del self._entries[key]
            return None
        return reply

    def put(self, key: Key, reply: asyncio.Future[object], now_s: float) -> None:
        """The oldest goes when room is needed, then also those that are too old."""
        self._entries.pop(key, None)
        self._entries[key] = (now_s, reply)
        while self._entries:
            entered_s, oldest = next(iter(self._entries.values()))
            if len(self._entries) <= self._capacity and not (oldest.done() and now_s - entered_s > self._ttl_s):
                return
            self._entries.popitem(last=False)

    def forget(self, key: Key) -> None:
        self._entries.pop(key, None)
