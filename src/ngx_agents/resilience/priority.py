"""How important a newcomer is, as a level from 0 to 399, and down to which level newcomers are let in.

A level is 100 times the class plus up to 99 by how much the tenant and the user used lately: of two in a class, the
heavier user is shed first. The threshold follows the levels that come: when the line is overloaded, 5 % less of them
are let in, otherwise 1 % more. Instances tell one another their thresholds, and shed at their own door. Pure.

Source: "Overload Control for Scaling WeChat Microservices" (DAGOR), SoCC 2018.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict, deque

from ngx_agents.clock import Clock

CLASSES = 4
LEVELS_PER_CLASS = 100
EVERYBODY = CLASSES * LEVELS_PER_CLASS - 1
FIRST_SHEDDABLE_CLASS = 2
HALF_LIFE_S = 60.0
MAX_KEYS = 10_000
RANKED_EVERY_S = 1.0
KEPT_LEVELS = 1000
LESS, MORE, LEAST_SHARE = 0.95, 0.01, 0.02


class RecentUse:
    """Tokens by key, half forgotten every minute; at most `MAX_KEYS` keys, the least recently heard of go."""

    def __init__(self, clock: Clock) -> None:
        self._now_s = clock.monotonic_s
        self._zero_s = clock.monotonic_s()
        self._used: OrderedDict[str, float] = OrderedDict()
        self._ranked: list[float] = []
        self._ranked_at_s = float("-inf")

    def add(self, key: str, tokens: float) -> None:
        """In units of the beginning: what came later counts more, so that nothing has to be aged one by one."""
        grown = 2.0 ** ((self._now_s() - self._zero_s) / HALF_LIFE_S)
        self._used[key] = self._used.get(key, 0.0) + tokens * grown
        self._used.move_to_end(key)
        if len(self._used) > MAX_KEYS:
            self._used.popitem(last=False)
        if grown > 1e100:
            self._start_anew(grown)

    def quantile(self, key: str) -> float:
        """Which share of the keys used less, from 0 to below 1; 0 for who used nothing."""
        used = self._used.get(key)
        if used is None:
            return 0.0
        now_s = self._now_s()
        if now_s >= self._ranked_at_s + RANKED_EVERY_S:
            self._ranked, self._ranked_at_s = sorted(self._used.values()), now_s
        return min(bisect_left(self._ranked, used) / len(self._ranked), 0.999)

    def _start_anew(self, grown: float) -> None:
        self._zero_s = self._now_s()
        for key in self._used:
            self._used[key] /= grown
        self._ranked_at_s = float("-inf")


def level_of(turn_class: int, use_quantile: float) -> int:
    """`turn_class` 0 to 3, `use_quantile` in [0, 1)."""
    return LEVELS_PER_CLASS * turn_class + int((LEVELS_PER_CLASS - 1) * use_quantile)


class Threshold:
    """`value`: newcomers up to this level are let in; `step` once a second."""

    def __init__(self) -> None:
        self.value = EVERYBODY
        self._share = 1.0
        self._levels: deque[int] = deque(maxlen=KEPT_LEVELS)
        self._counts = [0] * (EVERYBODY + 1)

    def saw(self, level: int) -> None:
        """A newcomer of that level, let in or not."""
        if len(self._levels) == KEPT_LEVELS:
            self._counts[self._levels[0]] -= 1
        self._levels.append(level)
        self._counts[level] += 1

    def step(self, *, is_overloaded: bool) -> None:
        self._share = max(LEAST_SHARE, LESS * self._share) if is_overloaded else min(1.0, self._share + MORE)
        self.value = EVERYBODY if self._share >= 1.0 else self._level_at(self._share * len(self._levels))

    def _level_at(self, count: float) -> int:
        for level, seen in enumerate(self._counts):
            count -= seen
            if count <= 0:
                return level
        return EVERYBODY
