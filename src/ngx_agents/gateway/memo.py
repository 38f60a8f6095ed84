"""What was verified a moment ago and need not be verified again: bounded, least recently used out first."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Memo(Generic[T]):
    """Values by key until their time is over. `now_s` is whichever clock the expiries are given in."""

    def __init__(self, max_entries: int, now_s: Callable[[], float]) -> None:
        self._max_entries = max_entries
        self._now_s = now_s
        self._entries: OrderedDict[bytes, tuple[T, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        self._entries.clear()

    def drop(self, key: bytes) -> None:
        self._entries.pop(key, None)

    def get(self, key: bytes) -> T | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self._now_s():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def put(self, key: bytes, value: T, expires_s: float) -> None:
        self._entries[key] = (value, expires_s)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
