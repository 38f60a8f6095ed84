"""The gate: lets turns in up to a moving bound, keeps a short line before it, and refuses with a time that comes true.

With room a turn is let in at once. Otherwise it waits in the line; whoever cannot wait is refused, at the start of a
turn and never in the middle. Pure: the caller asks, is told by `decided`, gives back; `look` some ten times a second
drops who waited too long, `step` once a second moves bound and threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import Literal

from ngx_agents.clock import Clock, Rng
from ngx_agents.resilience.admission_limit import AdmissionLimit, LimitRules
from ngx_agents.resilience.admission_line import AdmissionLine, Asker, Entry
from ngx_agents.resilience.fairness import Fairness, user_key
from ngx_agents.resilience.priority import CLASSES, EVERYBODY, RecentUse, Threshold, level_of
from ngx_agents.resilience.promises import Promises

MOST_WAITING = 200
LATELY_S = 10.0
RUSH_OVER_S = 1.0  # that more come is believed sooner than that fewer do
LEAST_ASKED_PER_S = 0.2  # below that a share says nothing
OTHERS_LEAVE = 0.98
LEAST_TURN_S = 0.01
TURN_SHARE = 0.01  # of how long turns take, from each: their lengths differ much
USUAL_TURN_S = 8.0  # until turns have ended
OVERLOADED_WAIT_S = 1.0
USUAL_COST = 1000.0  # until turns have ended
USUAL_SHARE = 0.05  # of what is usual, from each turn that ends
Why = Literal["full", "late", "displaced", "level", "share"]
BATCH = 3
EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`why`: the line is full, the wait was too long, somebody more urgent took the place, the level is shed before
    the line, or the tenant holds its whole share. `retry_after_s` is in whole seconds."""

    why: Why
    retry_after_s: float


class Holding:
    """What was let in: given back once. `weight` is how many calls it makes at once now, `charged` what the fairness
    was told in advance that it would use."""

    __slots__ = ("asker", "charged", "is_open", "since_s", "weight")

    def __init__(self, asker: Asker, *, since_s: float, charged: float) -> None:
        self.asker = asker
        self.weight = asker.weight
        self.since_s = since_s
        self.charged = charged
        self.is_open = True


Decision = Holding | Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """`tenant_share` of the bound is the most one tenant may hold. `most_waiting` bounds the line, 2 L does too."""

    limit: LimitRules
    tenant_share: float = 1.0
    most_waiting: int = MOST_WAITING


class Gate:
    """`peers_threshold` is down to where those let in that run the turns, where this instance runs none itself."""

    def __init__(self, rules: GateRules, *, clock: Clock, rng: Rng, fairness: Fairness) -> None:
        self.limit = AdmissionLimit(rules.limit)
        self.threshold = Threshold()
        self.peers_threshold = EVERYBODY
        self.fairness = fairness
        self.tenants_use = RecentUse(clock)
        self.users_use = RecentUse(clock)
        self.in_flight = 0.0
        self.wait_s = 0.0
        self._rules = rules
        self._now_s = clock.monotonic_s
        self._line = AdmissionLine(fairness)
        self._promises = Promises(clock=clock, rng=rng)
        self._waits: list[float] = []
        self._usual_cost = USUAL_COST
        self._usual_turn_s = USUAL_TURN_S
        self._turns_seen = 0
        self._asked = self._refused = 0
        self._asked_per_s = self._refused_per_s = 0.0
        self._arrived = [0.0] * CLASSES
        self._arrived_per_s = [0.0] * CLASSES
        self._stepped_s = clock.monotonic_s()

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def promised(self) -> int:
        """How many were told a time and are still expected."""
        return len(self._promises)

    @property
    def load(self) -> float:
        """What is in flight, in parts of the bound."""
        return self.in_flight / self.limit.value

    @property
    def refused_share(self) -> float:
        """Which part of those who asked lately was refused. Batches do not count: they ask for what is left over."""
        return self._refused_per_s / self._asked_per_s if self._asked_per_s > LEAST_ASKED_PER_S else 0.0

    def crowds_others(self, tenant: str) -> bool:
        """Whether it is the tenant's own doing that there is no room, not everybody's."""
        own = self.fairness.in_flight_of(tenant)
        return self.fairness.is_noisy(tenant) and own < OTHERS_LEAVE * self.in_flight

    @property
    def drain_per_s(self) -> float:
        """How much is given back in a second while all places are taken: by how long turns took lately, not by how
        many ended, because few end where few began."""
        return self.limit.value / self._usual_turn_s

    def ask(self, asker: Asker, decided: Callable[[Decision], None]) -> Decision | Entry:
        """A Holding: let in. A Refusal: not. An Entry: it waits, `decided` will be told, `leave` takes it out."""
        self._asked += asker.turn_class < BATCH
        level = self._level(asker)
        self.threshold.saw(level)
        is_promised = self._promises.take(asker.tenant, asker.user) if len(self._promises) else False
        if not is_promised:
            self._arrived[asker.turn_class] += asker.weight
        if self._is_over_share(asker):
            return self._refusal(asker, "share")
        if not self._line and self._has_room(asker):
            return self._let_in(asker, 0.0)
        if asker.turn_class and not is_promised and level > min(self.threshold.value, self.peers_threshold):
            return self._refusal(asker, "level")
        if len(self._line) >= self._most_waiting:
            displaced = self._line.room_for(asker, is_promised=is_promised)
            if displaced is None:
                return self._refusal(asker, "full")
            self._line.remove(displaced)
            displaced.decided(self._refusal(displaced.asker, "displaced"))
        entry = Entry(asker=asker, since_s=self._now_s(), is_promised=is_promised, decided=decided)
        self._line.add(entry)
        self._hand_out()
        return entry

    def leave(self, entry: Entry) -> bool:
        """It waits no longer. False when it was decided already."""
        return self._line.remove(entry)

    def reweigh(self, holding: Holding, weight: float) -> None:
        """What was let in makes more calls at once than it was let in for, or fewer again."""
        change, holding.weight = weight - holding.weight, weight
        self.in_flight += change
        self.fairness.entered(holding.asker.tenant, change)
        if change < 0.0:
            self._hand_out()

    def spent(self, holding: Holding, tokens: float) -> None:
        """What it used of the model, input once and output twice; told once, before it is given back."""
        asker = holding.asker
        self._usual_cost += USUAL_SHARE * (tokens - self._usual_cost)
        took_s = max(LEAST_TURN_S, self._now_s() - holding.since_s)
        self._turns_seen += 1
        share = max(TURN_SHARE, 1.0 / self._turns_seen)
        self._usual_turn_s += share * (took_s - self._usual_turn_s)
        self.fairness.charge(asker.tenant, asker.user, tokens - holding.charged)
        holding.charged = tokens
        self.tenants_use.add(asker.tenant, tokens)
        self.users_use.add(user_key(asker.tenant, asker.user), tokens)

    def give_back(self, holding: Holding) -> None:
        """It is over, or never began; again is nothing."""
        if not holding.is_open:
            return
        holding.is_open = False
        self.in_flight = max(0.0, self.in_flight - holding.weight)
        self.fairness.left(holding.asker.tenant, holding.weight, seconds=self._now_s() - holding.since_s)
        self._hand_out()

    def look(self) -> None:
        """Drops those who have waited too long."""
        if self._line:
            for entry in self._line.expired(self._now_s()):
                self._waits.append(self._now_s() - entry.since_s)
                entry.decided(self._refusal(entry.asker, "late"))

    def step(self) -> None:
        """Once a second: the bound by what the signals say, the threshold by how long was waited."""
        now_s = self._now_s()
        passed_s, self._stepped_s = now_s - self._stepped_s, now_s
        if passed_s > 0.0:
            kept = exp(-passed_s / LATELY_S)
            self._asked_per_s += (1.0 - kept) * (self._asked / passed_s - self._asked_per_s)
            self._refused_per_s += (1.0 - kept) * (self._refused / passed_s - self._refused_per_s)
            self._asked = self._refused = 0
            for turn_class, arrived in enumerate(self._arrived):
                now_per_s, known_per_s = arrived / passed_s, self._arrived_per_s[turn_class]
                share = 1.0 - (kept if now_per_s < known_per_s else exp(-passed_s / RUSH_OVER_S))
                self._arrived_per_s[turn_class] += share * (now_per_s - known_per_s)
                self._arrived[turn_class] = 0.0
        self.limit.step(self.in_flight)
        self.wait_s = sum(self._waits) / len(self._waits) if self._waits else 0.0
        self._waits.clear()
        self.threshold.step(is_overloaded=self.wait_s > OVERLOADED_WAIT_S)
        self._promises.sweep()
        self.look()
        self._hand_out()

    @property
    def _most_waiting(self) -> int:
        return int(min(2 * self.limit.value, self._rules.most_waiting))

    def _level(self, asker: Asker) -> int:
        used = self.tenants_use.quantile(asker.tenant), self.users_use.quantile(user_key(asker.tenant, asker.user))
        return level_of(asker.turn_class, sum(used) / 2)

    def _is_over_share(self, asker: Asker) -> bool:
        share = self._rules.tenant_share
        if share >= 1.0:
            return False
        return self.fairness.in_flight_of(asker.tenant) + asker.weight > max(1.0, share * self.limit.value) + EPSILON

    def _has_room(self, asker: Asker) -> bool:
        return self.in_flight + asker.weight <= self.limit.value + EPSILON or not self.in_flight

    def _let_in(self, asker: Asker, waited_s: float) -> Holding:
        """Charged at once with what is usual: or whoever was given least would get all places until its turns end."""
        self.in_flight += asker.weight
        self.fairness.entered(asker.tenant, asker.weight)
        self.fairness.charge(asker.tenant, asker.user, self._usual_cost)
        self._waits.append(waited_s)
        return Holding(asker, since_s=self._now_s(), charged=self._usual_cost)

    def _hand_out(self) -> None:
        while self._line and (self.in_flight < self.limit.value or not self.in_flight):
            now_s = self._now_s()
            entry = self._line.next(now_s)
            if entry is None or not self._has_room(entry.asker):
                return
            self._line.remove(entry)
            self.fairness.served(entry.asker.tenant, entry.asker.user)
            entry.decided(self._let_in(entry.asker, now_s - entry.since_s))

    def _refusal(self, asker: Asker, why: Why) -> Refusal:
        self._refused += asker.turn_class < BATCH
        is_noisy = self.fairness.is_noisy(asker.tenant)
        ahead = self._line.ahead_of(asker.turn_class, is_noisy=is_noisy)
        drain_per_s = self.drain_per_s - sum(self._arrived_per_s[: asker.turn_class])
        retry_after_s = self._promises.make(
            asker.tenant, asker.user, asker.turn_class, ahead=ahead, drain_per_s=drain_per_s, is_noisy=is_noisy
        )
        return Refusal(why=why, retry_after_s=retry_after_s)
