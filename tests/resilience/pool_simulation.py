"""Simulated callers of a shared pool: Poisson arrivals, a governor and a retry budget each, virtual time.

The pool is the emulator's: a token bucket of `burst_s` of its rate, or seats, changed in steps; it refuses without
headers after half a round trip and a half. Everything is drawn from one seed.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf, log

from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng
from ngx_agents.errors import ThrottleKind
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.resilience.governor import Governor, GovernorRules
from ngx_agents.resilience.retry_budget import RetryBudget, RetryRules

MAX_ATTEMPTS = 3
MAX_QUEUE = 200


@dataclass
class Pool:
    """`rate_steps`: (from second, requests per second); `seats`: calls at once, None for no bound."""

    rate_steps: list[tuple[float, float]]
    burst_s: float = 0.2
    seats: int | None = None
    fixed_window_s: float | None = None
    kind: ThrottleKind = "shared"
    retry_after_s: float | None = None
    level: float = inf  # full
    at_s: float = 0.0
    held: int = 0
    window: int = -1
    attempts: list[float] = field(default_factory=list)
    admitted: list[float] = field(default_factory=list)

    def admits(self, now_s: float) -> bool:
        self.attempts.append(now_s)
        is_admitted = self._has_room(now_s)
        if is_admitted:
            self.level -= 1.0
            self.held += 1
            self.admitted.append(now_s)
        return is_admitted

    def _has_room(self, now_s: float) -> bool:
        if self.seats is not None and self.held >= self.seats:
            return False
        rate = next(rate for after_s, rate in reversed(self.rate_steps) if now_s >= after_s)
        if self.fixed_window_s is not None:
            window = int(now_s / self.fixed_window_s)
            if window != self.window:
                self.window, self.level = window, rate * self.fixed_window_s
        else:
            self.level = min(max(1.0, rate * self.burst_s), self.level + (now_s - self.at_s) * rate)
            self.at_s = now_s
        return self.level >= 1.0


@dataclass
class Request:
    born_s: float
    attempts: int = 0


class Caller:
    """One process: a governed lane, its queue, and retries within a budget."""

    def __init__(self, world: World, rules: GovernorRules, offered: Callable[[float], float]) -> None:
        self.world = world
        self.offered = offered
        self.governor = Governor(rules, clock=world.clock)
        self.budget = RetryBudget(RetryRules(), clock=world.clock)
        self.queue: deque[Request] = deque()
        self.delays_s: list[float] = []
        self.sent = 0  # requests that had at least one attempt
        self.arrived = 0
        self.admitted: list[float] = []
        self.lost: list[float] = []
        self._is_waking = False

    def arrive(self) -> None:
        now_s = self.world.clock.at_s
        rate = self.offered(now_s)
        self.world.at(now_s - log(1.0 - self.world.rng.random()) / max(rate, 0.001), self.arrive)
        self.arrived += 1
        self.enqueue(Request(now_s))

    def enqueue(self, request: Request) -> None:
        if len(self.queue) >= MAX_QUEUE:
            return
        self.queue.append(request)
        self.pump()

    def pump(self) -> None:
        now_s = self.world.clock.at_s
        while self.queue:
            if now_s - self.queue[0].born_s > self.world.patience_s:
                self.queue.popleft()
                continue
            wait_s = self.governor.wait_s()
            if wait_s > 0.0:
                if wait_s < inf and not self._is_waking:
                    self._is_waking = True
                    self.world.at(now_s + wait_s + 1e-6, self.wake)
                return
            self.send(self.queue.popleft())

    def wake(self) -> None:
        self._is_waking = False
        self.pump()

    def send(self, request: Request) -> None:
        now_s = self.world.clock.at_s
        if not request.attempts:
            self.sent += 1
            self.budget.called()
            self.delays_s.append(now_s - request.born_s)
        request.attempts += 1
        started_s = self.governor.start()
        self.world.at(now_s + self.world.trip_s / 2, lambda: self.reach(request, started_s))

    def reach(self, request: Request, started_s: float) -> None:
        now_s, world = self.world.clock.at_s, self.world
        if world.pool.admits(now_s):
            self.admitted.append(now_s)
            world.at(now_s + world.trip_s / 2 + world.work_s(), self.answered)
        else:
            world.at(now_s + world.trip_s / 2, lambda: self.throttled(request, started_s))

    def answered(self) -> None:
        self.world.pool.held -= 1
        self.governor.ended()
        self.budget.succeeded()
        self.pump()

    def throttled(self, request: Request, started_s: float) -> None:
        pool = self.world.pool
        self.governor.throttled(started_s, kind=pool.kind, retry_after_s=pool.retry_after_s)
        if request.attempts < MAX_ATTEMPTS and self.budget.try_retry(throttled=True):
            delay_s = next_delay_s(request.attempts - 1, base_s=1.0, rng=self.world.rng)
            self.world.at(self.world.clock.at_s + delay_s, lambda: self.enqueue(request))
        else:
            self.lost.append(self.world.clock.at_s)
        self.pump()


class World:
    """Virtual time and what happens in it."""

    def __init__(
        self, pool: Pool, *, seed: int, trip_s: float = 0.05, median_work_s: float = 0.5, sigma: float = 0.5
    ) -> None:
        self.clock = HandClock(0.0)
        self.rng = Rng(seed)
        self.pool = pool
        self.trip_s = trip_s
        self.median_work_s = median_work_s
        self.sigma = sigma
        self.patience_s = 5.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def work_s(self) -> float:
        return self.median_work_s * 2.718281828 ** self.rng.gauss(0.0, self.sigma)

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._order), action))

    def run(self, callers: list[Caller], until_s: float) -> None:
        for caller in callers:
            self.at(self.clock.at_s, caller.arrive)
        while self._events and self._events[0][0] <= until_s:
            self.clock.at_s, _, action = heapq.heappop(self._events)
            action()


def within(times: list[float], from_s: float, to_s: float) -> int:
    return sum(1 for when in times if from_s <= when < to_s)
