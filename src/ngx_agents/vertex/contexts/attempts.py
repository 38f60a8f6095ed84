"""How many times something may be tried within an hour."""

from __future__ import annotations

from collections import deque

HOUR_S = 3600.0


class Attempts:
    """At most `limit` in any hour; holds no more than that many times."""

    __slots__ = ("_limit", "_times")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque()

    def may_one(self, now_s: float) -> bool:
        while self._times and now_s - self._times[0] >= HOUR_S:
            self._times.popleft()
        return len(self._times) < self._limit

    def note(self, now_s: float) -> None:
        self._times.append(now_s)
