"""Who is served next among those who wait: tenants by what they were given, and users inside each tenant.

A virtual counter grows by what was given (input tokens, output tokens twice); among those who wait the least counter is
next. Who comes back from idle starts where the least of those who wait stands, so that no credit is saved up. A tenant
that holds much of what is in flight, or took much of the time lately, is noisy and goes behind the quiet ones.
Pure; one instance, used by the gate, by the model's permits and by the mailboxes, so that all count together.

Source: "Fairness in Serving Large Language Models" (VTC), arXiv 2401.00588; the noisy rule: Amazon SQS fair queues.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from ngx_agents.clock import Clock

INPUT_WEIGHT = 1.0
OUTPUT_WEIGHT = 2.0
CALL_COST = 100.0  # of a call that waited, in tokens: so that tenants take turns before they are charged
MAX_KEYS = 10_000
NOISY_FOR_S = 0.25


class VirtualCounters:
    """One counter for each key; the `MAX_KEYS` used last are kept, a forgotten one begins anew as if idle."""

    __slots__ = ("_counters", "_floor")

    def __init__(self) -> None:
        self._counters: OrderedDict[str, float] = OrderedDict()
        self._floor = 0.0

    def of(self, key: str) -> float:
        return self._counters.get(key, self._floor)

    def charge(self, key: str, amount: float) -> None:
        """Adds what `key` was given; negative for what it was charged and did not use."""
        counters = self._counters
        counters[key] = counters.get(key, self._floor) + amount
        counters.move_to_end(key)
        if len(counters) > MAX_KEYS:
            counters.popitem(last=False)

    def served(self, key: str) -> None:
        """`key`, the least of those who waited, is given something now: nobody who comes later starts lower."""
        self._floor = max(self._floor, self.of(key))

    def back_from_idle(self, key: str) -> None:
        """`key` did not wait and begins to."""
        if self._counters.get(key, 0.0) < self._floor:
            self._counters[key] = self._floor


@dataclass(frozen=True, slots=True, kw_only=True)
class NoisyRule:
    """Noisy is who holds more than `share` of what is in flight and at least `least_in_flight`, or who took more than
    `share` of the time of the last `over_s` or so; but only beside others."""

    share: float = 0.1
    least_in_flight: int = 30
    over_s: float = 30.0


class _Load:
    __slots__ = ("in_flight", "seconds")

    def __init__(self) -> None:
        self.in_flight = 0.0
        self.seconds = 0.0


class Fairness:
    """`tenants` and `users` are the counters; the key of a user holds its tenant's name."""

    def __init__(self, *, clock: Clock, rule: NoisyRule | None = None) -> None:
        self.tenants = VirtualCounters()
        self.users = VirtualCounters()
        self._rule = rule or NoisyRule()
        self._now_s = clock.monotonic_s
        self._loads: OrderedDict[str, _Load] = OrderedDict()
        self._in_flight = 0.0
        self._seconds = 0.0
        self._halved_s = clock.monotonic_s()
        self._noisy: frozenset[str] = frozenset()
        self._noisy_until_s = float("-inf")

    def next_of(self, tenants: Iterable[str]) -> str:
        """Who of those who wait is next: the quiet before the noisy, then who was given least."""
        return min(tenants, key=lambda name: (self.is_noisy(name), self.tenants.of(name)))

    def served(self, tenant: str, user: str) -> None:
        """Somebody who waited is next."""
        self.tenants.served(tenant)
        self.users.served(user_key(tenant, user))

    def charge(self, tenant: str, user: str, amount: float) -> None:
        self.tenants.charge(tenant, amount)
        self.users.charge(user_key(tenant, user), amount)

    def entered(self, tenant: str, weight: float) -> None:
        """More of the tenant's is in flight."""
        self._load(tenant).in_flight += weight
        self._in_flight += weight

    def left(self, tenant: str, weight: float, *, seconds: float) -> None:
        """What had entered is over after `seconds`."""
        self._fade()
        load = self._load(tenant)
        load.in_flight = max(0.0, load.in_flight - weight)
        self._in_flight = max(0.0, self._in_flight - weight)
        load.seconds += weight * seconds
        self._seconds += weight * seconds

    def in_flight_of(self, tenant: str) -> float:
        load = self._loads.get(tenant)
        return 0.0 if load is None else load.in_flight

    def is_noisy(self, tenant: str) -> bool:
        load, rule = self._loads.get(tenant), self._rule
        if load is None:
            return False
        if load.in_flight >= rule.least_in_flight and load.in_flight > rule.share * self._in_flight:
            return True
        return load.seconds > rule.share * self._seconds and load.seconds > rule.least_in_flight * rule.share

    def noisy(self) -> frozenset[str]:
        """All who are noisy, looked up a few times a second at most."""
        now_s = self._now_s()
        if now_s >= self._noisy_until_s:
            self._noisy = frozenset(tenant for tenant in self._loads if self.is_noisy(tenant))
            self._noisy_until_s = now_s + NOISY_FOR_S
        return self._noisy

    def _load(self, tenant: str) -> _Load:
        load = self._loads.get(tenant)
        if load is None:
            load = self._loads[tenant] = _Load()
            if len(self._loads) > MAX_KEYS:
                self._forget_one()
        return load

    def _forget_one(self) -> None:
        """The one known longest of those with nothing in flight."""
        for tenant, load in self._loads.items():
            if not load.in_flight:
                self._seconds -= load.seconds
                del self._loads[tenant]
                return

    def _fade(self) -> None:
        """Half of the time counts for each `over_s` that has passed."""
        now_s = self._now_s()
        if now_s < self._halved_s + self._rule.over_s:
            return
        halvings = int((now_s - self._halved_s) / self._rule.over_s)
        self._halved_s += halvings * self._rule.over_s
        for load in self._loads.values():
            load.seconds *= 0.5**halvings
        self._seconds *= 0.5**halvings


def user_key(tenant: str, user: str) -> str:
    return f"{tenant}\0{user}"


def cost_of(input_tokens: float, output_tokens: float) -> float:
    """What a turn is charged."""
    return INPUT_WEIGHT * input_tokens + OUTPUT_WEIGHT * output_tokens
