"""A bound that is not known and moves: met, given way to, regained, and then probed ever faster until it is met again.

What it was when it was last met is remembered: up to just below it the way back is short, because that much was given
a moment ago; beyond it the steps start small and double, so that a bound that stands still is seldom overstepped, and
one that rose a lot is found in seconds. Pure arithmetic; used by the governor for its pace and for calls in flight.
"""

from __future__ import annotations

MAX_DOUBLINGS = 24.0


class Climb:
    """`value` rises from `low` to `target` in `regain_s`, then by `step * (2^(t / doubling_s) - 1)` beyond it."""

    __slots__ = ("_beyond_s", "_doubling_s", "_low", "_regain_s", "_regained_s", "_step", "target", "value")

    def __init__(self, *, low: float, target: float, step: float, regain_s: float, doubling_s: float) -> None:
        self.value = low
        self.target = target
        self._low = low
        self._step = step
        self._regain_s = regain_s
        self._regained_s = 0.0
        self._doubling_s = doubling_s
        self._beyond_s = 0.0

    def advance(self, passed_s: float, *, is_wanted: bool) -> None:
        """`is_wanted`: more than `value` was asked for meanwhile; without that nothing is learned by going beyond."""
        if self._regained_s < self._regain_s:
            self._regained_s += passed_s
            share = min(1.0, self._regained_s / self._regain_s)
            self.value = self._low + (self.target - self._low) * share
        elif is_wanted:
            self._beyond_s += passed_s
            self.value = self.target + self._step * (2.0 ** min(self._beyond_s / self._doubling_s, MAX_DOUBLINGS) - 1.0)
