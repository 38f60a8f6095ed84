"""The arithmetic of a limit per minute: a bucket that fills evenly and from which calls take what they expect to use.

What a call really used is settled afterwards, and may leave a debt: the next ones then wait for it. Pure.
"""

from __future__ import annotations

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError


class TokenBucket:
    """Holds at most `capacity` (one minute's worth unless said otherwise), full at first."""

    __slots__ = ("_at_s", "_capacity", "_level", "_now_s", "_per_s")

    def __init__(self, *, per_minute: float, clock: Clock, capacity: float | None = None) -> None:
        if per_minute <= 0.0 or (capacity is not None and capacity <= 0.0):
            raise ConfigError("a limit per minute is positive")
        self._per_s = per_minute / 60.0
        self._capacity = per_minute if capacity is None else capacity
        self._level = self._capacity
        self._now_s = clock.monotonic_s
        self._at_s = self._now_s()

    @property
    def level(self) -> float:
        """What can be taken now; negative while a debt is paid off."""
        self._fill()
        return self._level

    def wait_s(self, amount: float) -> float:
        """Seconds until `amount` can be taken if nobody else takes; more than the capacity waits for a full bucket."""
        self._fill()
        return max(0.0, (min(amount, self._capacity) - self._level) / self._per_s)

    def take(self, amount: float) -> float:
        """Takes `amount` and returns 0, or takes nothing and returns the seconds to wait."""
        wait_s = self.wait_s(amount)
        if wait_s == 0.0:
            self._level -= amount
        return wait_s

    def settle(self, surplus: float) -> None:
        """Gives back what was taken and not used; negative for what was used and not taken."""
        self._fill()
        self._level = min(self._capacity, self._level + surplus)

    def _fill(self) -> None:
        now_s = self._now_s()
        if now_s > self._at_s:
            self._level = min(self._capacity, self._level + (now_s - self._at_s) * self._per_s)
            self._at_s = now_s
