"""Who waits to be let in, who is next, who makes room, and who has waited long enough. Pure.

Next is the most urgent class (waiting half a minute is worth a class); in it quiet tenants before noisy ones, who was
promised a place before who was not, then the tenant and the user that were given least; last come last, but first in
the sheddable classes, where the newest still has the most time. An entry waits 5 s at most, and half a second once the
line has not been empty for 5 s (CoDel): a short line is cheaper than one in which everybody is too late. The promised,
and the quiet beside noisy ones, wait the long time, because they are next in any case; the critical 2 s, which is
longer than a cut of the bound lets nobody in.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ngx_agents.resilience.fairness import Fairness, user_key
from ngx_agents.resilience.priority import CLASSES, FIRST_SHEDDABLE_CLASS

AGE_S = 30.0
LONG_WAIT_S = 5.0
SHORT_WAIT_S = 0.5
CRITICAL_WAIT_S = 2.0
STANDING_S = 5.0


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to be let in. `weight` is how many calls it is expected to make at once."""

    turn_class: int
    tenant: str
    user: str
    weight: float = 1.0


@dataclass(slots=True, eq=False, kw_only=True)
class Entry:
    """One who waits. `decided` is called once: with None when let in, with the refusal otherwise."""

    asker: Asker
    since_s: float
    is_promised: bool
    decided: Callable[[Any], None]


Queue = OrderedDict[Entry, None]


class _Shares:
    """Entries by key (tenants, or a tenant's users), and how many the largest key has."""

    __slots__ = ("_sizes", "by_key", "largest")

    def __init__(self) -> None:
        self.by_key: dict[str, Queue] = {}
        self.largest = 0
        self._sizes: dict[int, int] = {}

    def add(self, key: str, entry: Entry) -> bool:
        """Whether it is the first of its key."""
        queue = self.by_key.get(key)
        is_first = queue is None
        if queue is None:
            queue = self.by_key[key] = OrderedDict()
        queue[entry] = None
        self._resize(len(queue) - 1, len(queue))
        return is_first

    def remove(self, key: str, entry: Entry) -> None:
        queue = self.by_key[key]
        del queue[entry]
        self._resize(len(queue) + 1, len(queue))
        if not queue:
            del self.by_key[key]

    def newest_of_larger(self, key: str) -> Entry | None:
        """The newest entry of the largest key, if that has at least two more than `key`."""
        if self.largest <= len(self.by_key.get(key, ())) + 1:
            return None
        largest = next(queue for queue in self.by_key.values() if len(queue) == self.largest)
        return next(reversed(largest))

    def _resize(self, before: int, after: int) -> None:
        sizes = self._sizes
        if before:
            sizes[before] -= 1
        if after:
            sizes[after] = sizes.get(after, 0) + 1
        self.largest = max(self.largest, after)
        while self.largest and not sizes.get(self.largest):
            sizes.pop(self.largest, None)
            self.largest -= 1


class _Class:
    """Those of one class who wait: all in the order they came, by tenant, and each tenant's by user."""

    __slots__ = ("all", "tenants", "users")

    def __init__(self) -> None:
        self.all: Queue = OrderedDict()
        self.tenants = _Shares()
        self.users: dict[str, _Shares] = {}

    def add(self, entry: Entry, fairness: Fairness) -> None:
        tenant, user = entry.asker.tenant, entry.asker.user
        self.all[entry] = None
        if self.tenants.add(tenant, entry):
            fairness.tenants.back_from_idle(tenant)
            self.users[tenant] = _Shares()
        key = user_key(tenant, user)
        if self.users[tenant].add(key, entry):
            fairness.users.back_from_idle(key)

    def remove(self, entry: Entry) -> None:
        tenant = entry.asker.tenant
        del self.all[entry]
        self.tenants.remove(tenant, entry)
        self.users[tenant].remove(user_key(tenant, entry.asker.user), entry)
        if tenant not in self.tenants.by_key:
            del self.users[tenant]

    def next(self, fairness: Fairness, *, is_newest_first: bool) -> Entry:
        tenants = self.tenants.by_key
        tenant = next(iter(tenants))
        if len(tenants) > 1:
            tenant = fairness.next_of(tenants)
        if len(tenants[tenant]) == 1:
            return next(iter(tenants[tenant]))
        promised = next((entry for entry in tenants[tenant] if entry.is_promised), None)
        if promised is not None:
            return promised
        users = self.users[tenant].by_key
        of_user = fairness.users.of
        if is_newest_first:
            key = min(reversed(users), key=of_user)
            return next(reversed(users[key]))
        return next(iter(users[min(users, key=of_user)]))


class AdmissionLine:
    """How many it may hold is the gate's to say."""

    def __init__(self, fairness: Fairness) -> None:
        self._fairness = fairness
        self._classes = tuple(_Class() for _ in range(CLASSES))
        self._count = 0
        self._busy_since_s: float | None = None

    def __len__(self) -> int:
        return self._count

    def ahead_of(self, turn_class: int, *, is_noisy: bool) -> int:
        """How many of that class and the more urgent ones wait; before a quiet tenant only the quiet ones."""
        classes = self._classes[: turn_class + 1]
        everybody = sum(len(each.all) for each in classes)
        if is_noisy:
            return everybody
        noisy = self._fairness.noisy()
        return everybody - sum(len(each.tenants.by_key.get(tenant, ())) for each in classes for tenant in noisy)

    def add(self, entry: Entry) -> None:
        self._classes[entry.asker.turn_class].add(entry, self._fairness)
        if not self._count:
            self._busy_since_s = entry.since_s
        self._count += 1

    def remove(self, entry: Entry) -> bool:
        """Takes it out; False when it was not in."""
        of_class = self._classes[entry.asker.turn_class]
        if entry not in of_class.all:
            return False
        of_class.remove(entry)
        self._count -= 1
        if not self._count:
            self._busy_since_s = None
        return True

    def next(self, now_s: float) -> Entry | None:
        """The one to be let in next, still in the line."""
        best: tuple[int, int] | None = None
        for turn_class, each in enumerate(self._classes):
            if each.all:
                rank = turn_class - int((now_s - next(iter(each.all)).since_s) / AGE_S)
                best = min(best or (rank, turn_class), (rank, turn_class))
        if best is None:
            return None
        turn_class = best[1]
        is_newest_first = turn_class >= FIRST_SHEDDABLE_CLASS
        return self._classes[turn_class].next(self._fairness, is_newest_first=is_newest_first)

    def room_for(self, asker: Asker, *, is_promised: bool) -> Entry | None:
        """Who of a full line makes room for the newcomer: of the least urgent class the newest; in the newcomer's own
        class one without a promise for one with it, else of the tenant, or user, that has more than its share."""
        for turn_class in range(CLASSES - 1, asker.turn_class, -1):
            if self._classes[turn_class].all:
                return next(reversed(self._classes[turn_class].all))
        own = self._classes[asker.turn_class]
        if is_promised:
            return next((entry for entry in reversed(own.all) if not entry.is_promised), None)
        if (found := own.tenants.newest_of_larger(asker.tenant)) is not None:
            return found
        users = own.users.get(asker.tenant)
        return None if users is None else users.newest_of_larger(user_key(asker.tenant, asker.user))

    def expired(self, now_s: float) -> list[Entry]:
        """Takes out who has waited too long. What was promised a place waits the long time."""
        busy_s = 0.0 if self._busy_since_s is None else now_s - self._busy_since_s
        short_s = SHORT_WAIT_S if busy_s >= STANDING_S else LONG_WAIT_S
        late = []
        for turn_class, each in enumerate(self._classes):
            spared, usual_s = self._spared(each), short_s
            if turn_class == 0:
                usual_s = max(short_s, CRITICAL_WAIT_S)
            for entry in each.all:
                waited_s = now_s - entry.since_s
                if waited_s < SHORT_WAIT_S:
                    break
                if waited_s >= (LONG_WAIT_S if entry.is_promised or entry.asker.tenant in spared else usual_s):
                    late.append(entry)
        for entry in late:
            self.remove(entry)
        return late

    def _spared(self, of_class: _Class) -> set[str]:
        """The quiet tenants, when others of the class are noisy."""
        tenants = of_class.tenants.by_key
        quiet = {tenant for tenant in tenants if not self._fairness.is_noisy(tenant)} if len(tenants) > 1 else set()
        return quiet if len(quiet) < len(tenants) else set()
