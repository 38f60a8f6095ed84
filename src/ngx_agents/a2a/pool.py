"""Which instance of an agent takes a message: the nearer first, of two drawn the less loaded, the failing left out.

Pure. `choose` hands out an instance and counts it busy; `ended` says what came of it. An instance fails on its own
(its address is down, its process is sick), apart from the agent's breaker: after `EJECT_AFTER` failures in a row it is
left out, longer each time, but never more than three tenths of the pool, rounded down: a pool of three keeps all.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.a2a.message import Handler
from ngx_agents.clock import Rng

EJECT_AFTER = 5
EJECT_S = 10.0
MAX_EJECT_S = 120.0
MAX_EJECTED_SHARE = 0.3
SMOOTHING = 0.1
MIN_LATENCY_S = 0.001  # below it instances are alike
FORGET_S = 10.0  # an instance that was slow and is not asked any more is worth another look


class Instance:
    """One of those who can be asked. `distance` 0 is this process, higher is farther; `capacity` is how many messages
    at once are worth sending there before a farther one is asked. The handler may be anything that awaits an answer,
    also one that calls another machine."""

    __slots__ = ("capacity", "distance", "ejected_until_s", "ejections", "failures", "handler", "in_flight",
                 "latency_s", "name", "observed_s")  # fmt: skip

    def __init__(self, name: str, handler: Handler, *, distance: int = 0, capacity: int = 20) -> None:
        self.name = name
        self.handler = handler
        self.distance = distance
        self.capacity = capacity
        self.in_flight = 0
        self.latency_s = MIN_LATENCY_S
        self.observed_s = 0.0
        self.failures = 0
        self.ejections = 0
        self.ejected_until_s = 0.0

    def load(self, now_s: float) -> float:
        """Expected time until one more message is answered. What was observed fades while nothing new is."""
        faded: float = self.latency_s * 2.0 ** (-(now_s - self.observed_s) / FORGET_S)
        return (self.in_flight + 1) * max(MIN_LATENCY_S, faded)


class Pool:
    """The instances of one agent; there is at least one."""

    def __init__(self, instances: Sequence[Instance], *, rng: Rng) -> None:
        self.instances = tuple(sorted(instances, key=lambda one: one.distance))
        self._rng = rng
        self._only = self.instances[0] if len(self.instances) == 1 else None
        self.max_ejected = int(len(self.instances) * MAX_EJECTED_SHARE)

    def choose(self, now_s: float) -> Instance:
        chosen = self._only or self._of_two(self._nearest(now_s), now_s)
        chosen.in_flight += 1
        return chosen

    def ended(self, instance: Instance, took_s: float | None, now_s: float, *, failed: bool = False) -> bool:
        """Gives an instance back; `took_s` None: it says nothing (cancelled). True when this ejected it."""
        instance.in_flight -= 1
        if failed:
            instance.failures += 1
            return instance.failures >= EJECT_AFTER and self._eject(instance, now_s)
        if took_s is not None:
            instance.failures = 0
            instance.observed_s = now_s
            instance.latency_s += SMOOTHING * (took_s - instance.latency_s)
            if instance.ejections and now_s >= instance.ejected_until_s + EJECT_S:
                instance.ejections = 0
        return False

    def ejected(self, now_s: float) -> int:
        return sum(1 for one in self.instances if one.ejected_until_s > now_s)

    def _eject(self, instance: Instance, now_s: float) -> bool:
        if instance.ejected_until_s > now_s or self.ejected(now_s) >= self.max_ejected:
            return False
        instance.ejected_until_s = now_s + min(MAX_EJECT_S, EJECT_S * 2.0**instance.ejections)
        instance.ejections = min(instance.ejections + 1, 10)
        instance.failures = 0
        return True

    def _nearest(self, now_s: float) -> list[Instance]:
        """Those of the least distance that have room; all that are not ejected when none has."""
        usable = [one for one in self.instances if one.ejected_until_s <= now_s]
        near = [one for one in usable if one.in_flight < one.capacity]
        if not near:
            return usable
        distance = near[0].distance
        return [one for one in near if one.distance == distance]

    def _of_two(self, candidates: list[Instance], now_s: float) -> Instance:
        count = len(candidates)
        if count == 1:
            return candidates[0]
        first = int(self._rng.random() * count)
        second = (first + 1 + int(self._rng.random() * (count - 1))) % count
        one, other = candidates[first], candidates[second]
        return one if one.load(now_s) <= other.load(now_s) else other
