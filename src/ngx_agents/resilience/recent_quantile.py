"""A quantile of what was seen lately, in fixed memory: two histograms with logarithmic edges that take turns.

The answer covers between one and two half windows, and is at most an eighth too high.
"""

from __future__ import annotations

import math

from ngx_agents.clock import Clock

EDGES_PER_DOUBLING = 6
LEAST_S = 0.001
BUCKETS = EDGES_PER_DOUBLING * 20  # up to about 1000 s
MIN_SAMPLES = 20


class RecentQuantile:
    """Durations in seconds, over the last `window_s` or so."""

    def __init__(self, *, window_s: float = 300.0, clock: Clock) -> None:
        self._half_s = window_s / 2
        self._clock = clock
        self._now = [0] * BUCKETS
        self._before = [0] * BUCKETS
        self._turns_at = clock.monotonic_s() + self._half_s
        self._seen = 0
        self._seen_before = 0

    def observe(self, value_s: float) -> None:
        self._turn()
        steps = math.log2(max(value_s, LEAST_S) / LEAST_S) * EDGES_PER_DOUBLING
        self._now[min(BUCKETS - 1, int(steps))] += 1
        self._seen += 1

    def quantile(self, share: float) -> float | None:
        """The upper edge of the bucket that holds it; None below `MIN_SAMPLES` observations."""
        self._turn()
        seen = self._seen + self._seen_before
        if seen < MIN_SAMPLES:
            return None
        left = share * seen
        for bucket, (now, before) in enumerate(zip(self._now, self._before, strict=True)):
            left -= now + before
            if left <= 0:
                return LEAST_S * 2 ** ((bucket + 1) / EDGES_PER_DOUBLING)
        return None

    def _turn(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s < self._turns_at:
            return
        is_long_ago = now_s >= self._turns_at + self._half_s
        self._before = [0] * BUCKETS if is_long_ago else self._now
        self._seen_before = 0 if is_long_ago else self._seen
        self._now = [0] * BUCKETS
        self._seen = 0
        self._turns_at = now_s + self._half_s
