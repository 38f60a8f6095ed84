"""Who waits for a permit, and who is next: four classes, tenants in turn inside each, bounded.

The next class is that of the least `since_s + class * AGE_S`: waiting that long is worth a class, so that nobody
starves. In it the tenant is next that was given least (`resilience/fairness.py`), and of its calls the oldest. When the
line is full the newest of the least urgent class makes room for a more urgent one. Pure; used by `governors.Lane`.
"""

from __future__ import annotations

from asyncio import Future
from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

from ngx_agents.resilience.fairness import CALL_COST, Fairness

CLASSES = 4
AGE_S = 30.0
P = TypeVar("P")


@dataclass(slots=True, eq=False, kw_only=True)
class Waiter(Generic[P]):
    """`urgency`: 0 is the most urgent. Times are of the monotonic clock."""

    granted: Future[P]
    urgency: int
    since_s: float
    deadline_s: float
    tenant: str = ""


class PermitLine(Generic[P]):
    """At most `max_waiting` waiters; without `fairness` first come, first served."""

    def __init__(self, max_waiting: int, fairness: Fairness | None = None) -> None:
        self._fairness = fairness
        self._max_waiting = max_waiting
        self._classes: tuple[OrderedDict[Waiter[P], None], ...] = tuple(OrderedDict() for _ in range(CLASSES))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def is_full(self) -> bool:
        return self._count >= self._max_waiting

    def ahead_of(self, urgency: int) -> int:
        """How many a newcomer of that class waits for, unless more urgent ones come."""
        return sum(len(waiters) for waiters in self._classes[: urgency + 1])

    def add(self, waiter: Waiter[P]) -> None:
        self._classes[waiter.urgency][waiter] = None
        self._count += 1

    def remove(self, waiter: Waiter[P]) -> None:
        """Takes it out if it is in."""
        waiters = self._classes[waiter.urgency]
        if waiter in waiters:
            del waiters[waiter]
            self._count -= 1

    def displace(self, urgency: int) -> Waiter[P] | None:
        """Takes out the newest of the least urgent class, if that is less urgent than `urgency`."""
        for waiters in reversed(self._classes[urgency + 1 :]):
            if waiters:
                self._count -= 1
                return waiters.popitem()[0]
        return None

    def pop(self) -> Waiter[P]:
        """Takes out the next one. Raises IndexError when nobody waits."""
        heads = [next(iter(waiters)) for waiters in self._classes if waiters]
        if not heads:
            raise IndexError("nobody waits")
        waiter = min(heads, key=lambda head: head.since_s + head.urgency * AGE_S)
        if self._fairness is not None:
            waiter = self._fairest(self._classes[waiter.urgency], self._fairness)
        self.remove(waiter)
        return waiter

    def _fairest(self, waiters: OrderedDict[Waiter[P], None], fairness: Fairness) -> Waiter[P]:
        oldest: dict[str, Waiter[P]] = {}
        for waiter in waiters:
            oldest.setdefault(waiter.tenant, waiter)
        if len(oldest) == 1:
            return next(iter(waiters))
        tenant = fairness.next_of(oldest)
        fairness.tenants.served(tenant)
        fairness.tenants.charge(tenant, CALL_COST)
        return oldest[tenant]

    def waiters(self) -> list[Waiter[P]]:
        """All, in no order that matters."""
        return [waiter for waiters in self._classes for waiter in waiters]
