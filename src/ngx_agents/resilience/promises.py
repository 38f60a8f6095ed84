"""The times that were told to those who were refused, so that they come true.

Who is refused is put behind those who wait and those who were told to come before: in `ahead / drain` seconds, times a
chance from 1 to 1.5, so that they do not come together. Only a part of the drain is promised: so there is room for it
when less is given than was thought, and newcomers find a server as usual as soon as the rush is over. Who comes back at
that time, or a little later, is known by tenant and user and goes before those who were not told anything. Who never
comes back holds up nobody: a promise is an order among those who ask, not a place kept free. Bounded; pure.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from math import ceil

from ngx_agents.clock import Clock, Rng
from ngx_agents.resilience.fairness import user_key

MAX_OF_A_CLASS = 5000
MAX_EACH = 16
GRACE_S = 10.0
GRACE_SHARE = 0.5
LONGEST_S = 600.0
PROMISED_SHARE = 0.2
EARLY_S = 0.05  # clocks and timers of clients


class _Promise:
    __slots__ = ("due_s", "ends_s", "is_noisy", "is_open", "key", "turn_class")

    def __init__(self, key: str, *, due_s: float, told_s: float, turn_class: int, is_noisy: bool) -> None:
        self.key = key
        self.is_noisy = is_noisy
        self.due_s = due_s
        self.ends_s = due_s + GRACE_S + GRACE_SHARE * (due_s - told_s)
        self.turn_class = turn_class
        self.is_open = True


class Promises:
    """What was told is counted by class, and apart for noisy tenants: a quiet one does not stand behind those."""

    def __init__(self, *, clock: Clock, rng: Rng) -> None:
        self._now_s = clock.monotonic_s
        self._rng = rng
        self._owners: dict[str, list[_Promise]] = {}
        self._counts = ([0, 0, 0, 0], [0, 0, 0, 0])
        self._ends: list[tuple[float, int, _Promise]] = []
        self._numbers = count()

    def __len__(self) -> int:
        return sum(self._counts[False]) + sum(self._counts[True])

    def before(self, turn_class: int, *, is_noisy: bool) -> int:
        """How many were told to come, and have not come yet, who go before a newcomer."""
        quiet = sum(self._counts[False][: turn_class + 1])
        return quiet + sum(self._counts[True][: turn_class + 1]) if is_noisy else quiet

    def take(self, tenant: str, user: str) -> bool:
        """Whether the caller was told to come about now; the promise is then used up."""
        key = user_key(tenant, user)
        promises = self._owners.get(key)
        if promises is None:
            return False
        now_s = self._now_s()
        for promise in promises:
            if promise.due_s - EARLY_S <= now_s <= promise.ends_s:
                self._drop(promise)
                return True
        return False

    def make(
        self, tenant: str, user: str, turn_class: int, *, ahead: int, drain_per_s: float, is_noisy: bool = False
    ) -> float:
        """Whole seconds after which the caller shall come again, at least 1.

        An owner is promised `MAX_EACH` times at most; asking more often, they hear when the last of them is due.
        """
        key = user_key(tenant, user)
        promises = self._owners.get(key, [])
        now_s = self._now_s()
        if len(promises) >= MAX_EACH:
            return max(1.0, ceil(promises[-1].due_s - now_s))
        wait_s = (ahead + self.before(turn_class, is_noisy=is_noisy) + 1) / max(PROMISED_SHARE * drain_per_s, 0.01)
        counts = self._counts[is_noisy]
        if counts[turn_class] >= MAX_OF_A_CLASS:
            wait_s = LONGEST_S
        told_s = float(max(1, ceil(min(LONGEST_S, wait_s) * self._rng.uniform(1.0, 1.5))))
        if counts[turn_class] >= MAX_OF_A_CLASS:
            return told_s
        promise = _Promise(key, due_s=now_s + told_s, told_s=now_s, turn_class=turn_class, is_noisy=is_noisy)
        self._owners.setdefault(key, []).append(promise)
        counts[turn_class] += 1
        heappush(self._ends, (promise.ends_s, next(self._numbers), promise))
        return told_s

    def sweep(self) -> None:
        """Forgets those who did not come; about once a second."""
        now_s, ends = self._now_s(), self._ends
        while ends and (ends[0][0] < now_s or not ends[0][2].is_open):
            promise = heappop(ends)[2]
            if promise.is_open:
                self._drop(promise)

    def _drop(self, promise: _Promise) -> None:
        promise.is_open = False
        promises = self._owners[promise.key]
        promises.remove(promise)
        self._counts[promise.is_noisy][promise.turn_class] -= 1
        if not promises:
            del self._owners[promise.key]
