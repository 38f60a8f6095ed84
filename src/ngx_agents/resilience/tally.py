"""Counts over a sliding window, cheap enough for every call: a ring of buckets, each forgotten as a whole.

The window is exact to a tenth of itself: it holds the bucket that is being filled and the nine before it.
"""

from __future__ import annotations

BUCKETS = 10


class Tally:
    """`sums[kind]` is how many of that kind the window holds; kinds are 0 … `kinds` - 1."""

    __slots__ = ("_buckets_per_s", "_head", "_rings", "sums")

    def __init__(self, window_s: float, *, kinds: int) -> None:
        self.sums = [0] * kinds
        self._rings = [[0] * BUCKETS for _ in range(kinds)]
        self._buckets_per_s = BUCKETS / window_s
        self._head = 0

    def turn_to(self, now_s: float) -> None:
        """Forgets what has left the window."""
        head = int(now_s * self._buckets_per_s)
        if head > self._head:
            self._forget(head)

    def add(self, kind: int, now_s: float) -> None:
        head = int(now_s * self._buckets_per_s)
        if head > self._head:
            self._forget(head)
        self.sums[kind] += 1
        self._rings[kind][self._head % BUCKETS] += 1

    def _forget(self, head: int) -> None:
        for passed in range(max(self._head, head - BUCKETS) + 1, head + 1):
            at = passed % BUCKETS
            for kind, ring in enumerate(self._rings):
                self.sums[kind] -= ring[at]
                ring[at] = 0
        self._head = head
