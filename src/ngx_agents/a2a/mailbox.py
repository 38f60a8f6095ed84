"""What waits for one agent: bounded, the most urgent first, nobody for ever. Pure: no I/O, no task, no timer.

Four classes, 0 the most urgent; thirty seconds of waiting are worth a class. Inside a class tenants take turns, the one
that was given least first (`resilience/fairness.py`), and of its entries the oldest goes first.
Full, it gives up the newest entry of the least urgent class for one that is more urgent than that, and refuses
otherwise. How long an entry may wait is shortened under standing load (CoDel) and never lengthened.
Everything put in leaves exactly once: taken, given up (by `put` or `expired`), or removed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

from ngx_agents.resilience.fairness import CALL_COST, Fairness

T = TypeVar("T")
CLASSES = 4
CLASS_WAIT_S = 30.0
STANDING_S = 5.0  # not empty for so long: the load stands
STANDING_WAIT_S = 0.5
MIN_SWEEP_S = 0.001


class Mailbox(Generic[T]):
    """`capacity` counts entries over all classes; `max_wait_s` is from entering to being taken. Entries are hashable
    and different from one another."""

    def __init__(self, capacity: int, *, max_wait_s: float, fairness: Fairness | None = None) -> None:
        self._fairness = fairness
        self._tenants: dict[T, str] = {}
        self.capacity = capacity
        self._max_wait_s = max_wait_s
        self._classes: tuple[OrderedDict[T, float], ...] = tuple(OrderedDict() for _ in range(CLASSES))
        self._size = 0
        self._standing_since_s: float | None = None

    def __len__(self) -> int:
        return self._size

    def waiting(self, turn_class: int) -> int:
        return len(self._classes[turn_class])

    def put(self, entry: T, turn_class: int, now_s: float, *, waited_s: float = 0.0, tenant: str = "") -> T | None:
        """`waited_s` is what it has waited before.

        What is given up for lack of room: nothing, another entry, or `entry` itself, which then was not let in."""
        displaced: T | None = None
        if self._size >= self.capacity:
            displaced = self._displace(turn_class)
            if displaced is None:
                return entry
        if not self._size:
            self._standing_since_s = now_s
        self._classes[turn_class][entry] = now_s - waited_s
        if tenant and self._fairness is not None:
            self._tenants[entry] = tenant
        self._size += 1
        return displaced

    def take(self, now_s: float) -> T | None:
        """The most urgent entry, None when empty. Whoever takes an entry that has waited too long does not begin it."""
        best: OrderedDict[T, float] | None = None
        best_key = 0.0
        for turn_class, waiting in enumerate(self._classes):
            if waiting:
                key = next(iter(waiting.values())) + CLASS_WAIT_S * turn_class
                if best is None or key < best_key:
                    best, best_key = waiting, key
        if best is None:
            return None
        entry = next(iter(best)) if self._fairness is None or not self._tenants else self._fairest(best, self._fairness)
        del best[entry]
        self._left(entry)
        return entry

    def displace(self, turn_class: int) -> T | None:
        """Takes out the newest entry of the least urgent class below this one, for whoever keeps count elsewhere."""
        return self._displace(turn_class)

    def remove(self, entry: T, turn_class: int) -> bool:
        """Whether it was still waiting."""
        if self._classes[turn_class].pop(entry, None) is None:
            return False
        self._left(entry)
        return True

    def standing_s(self, now_s: float) -> float:
        """For how long it has not been empty."""
        return 0.0 if self._standing_since_s is None else now_s - self._standing_since_s

    def max_wait_s(self, now_s: float) -> float:
        """How long an entry may wait, as things stand."""
        since_s = self._standing_since_s
        if since_s is not None and now_s - since_s >= STANDING_S:
            return min(self._max_wait_s, STANDING_WAIT_S)
        return self._max_wait_s

    def expired(self, now_s: float) -> list[T]:
        """Takes out those that have waited too long."""
        limit_s = now_s - self.max_wait_s(now_s)
        gone: list[T] = []
        for waiting in self._classes:
            while waiting:
                entry, entered_s = next(iter(waiting.items()))
                if entered_s > limit_s:
                    break
                del waiting[entry]
                self._left(entry)
                gone.append(entry)
        return gone

    def next_expiry_s(self, now_s: float) -> float | None:
        """When `expired` will have something to say unless things change; None while empty."""
        if self._standing_since_s is None:
            return None
        oldest_s = min(next(iter(waiting.values())) for waiting in self._classes if waiting)
        usual_s = oldest_s + self._max_wait_s
        standing_s = max(self._standing_since_s + STANDING_S, oldest_s + min(self._max_wait_s, STANDING_WAIT_S))
        return max(now_s + MIN_SWEEP_S, min(usual_s, standing_s))

    def _displace(self, turn_class: int) -> T | None:
        for waiting in reversed(self._classes[turn_class + 1 :]):
            if waiting:
                entry, _ = waiting.popitem(last=True)
                self._left(entry)
                return entry
        return None

    def _fairest(self, waiting: OrderedDict[T, float], fairness: Fairness) -> T:
        oldest: dict[str, T] = {}
        for entry in waiting:
            oldest.setdefault(self._tenants.get(entry, ""), entry)
        if len(oldest) == 1:
            return next(iter(waiting))
        tenant = fairness.next_of(oldest)
        fairness.tenants.served(tenant)
        fairness.tenants.charge(tenant, CALL_COST)
        return oldest[tenant]

    def _left(self, entry: T) -> None:
        self._tenants.pop(entry, None)
        self._size -= 1
        if not self._size:
            self._standing_since_s = None
