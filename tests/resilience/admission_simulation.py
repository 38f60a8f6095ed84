"""A backend with seats, clients that retry, and a gate between them, in virtual time.

The backend shares its capacity equally: up to `seats` jobs run at full speed, beyond that it loses up to 30 % to
thrashing. Jobs are lognormal (median 5 s, sigma 1, at most 45 s), a client waits 60 s and tries twice again; who is
refused comes again when told. Classes come at 20, 50 and 30 %. Goodput is work finished in time, in units of capacity.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from math import log
from random import Random

from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng
from ngx_agents.resilience.admission import Decision, Gate, GateRules, Holding, Refusal
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.admission_line import Asker, Entry
from ngx_agents.resilience.fairness import Fairness

MEDIAN_S, SIGMA = 5.0, 1.0
LONGEST_S = 45.0  # answers have a most length
MEAN_S = 7.92  # of that
PATIENCE_S = 60.0
RETRIES = 2
THRASH = 0.3
SHARES = (0.2, 0.5, 0.3)
TOKENS_PER_S = 50.0
TOKEN_S = 1.0 / TOKENS_PER_S


@dataclass(eq=False)
class Job:
    """One request of a client, over all its tries."""

    asker: Asker
    work_s: float
    came_s: float
    tries_left: int = RETRIES
    is_obedient_return: bool = False
    holding: Holding | None = None
    entry: Entry | None = None
    started_s: float = -1.0
    try_number: int = 0


@dataclass
class Phase:
    """What was offered and what came of it, by when the client first came."""

    seconds: float
    work_s: float = 0.0
    offered: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    served: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    refused: int = 0
    returned: int = 0
    returned_in_vain: int = 0
    waits_s: list[float] = field(default_factory=list)
    took_of: dict[str, list[float]] = field(default_factory=dict)
    offered_of: dict[str, int] = field(default_factory=dict)
    in_vain_by: dict[tuple[str, int], int] = field(default_factory=dict)


class Backend:
    """Processor sharing: one progress counter for all jobs, each ends when it reaches its own mark."""

    def __init__(self, seats: int) -> None:
        self._seats = seats
        self._progress = 0.0
        self._at_s = 0.0
        self._marks: list[tuple[float, int, Job]] = []
        self._numbers: dict[Job, int] = {}
        self._order = itertools.count()
        self.jobs = 0

    @property
    def speed(self) -> float:
        if self.jobs <= self._seats:
            return 1.0
        lost = THRASH * min(1.0, (self.jobs - self._seats) / self._seats)
        return self._seats * (1.0 - lost) / self.jobs

    def advance(self, now_s: float) -> None:
        self._progress += (now_s - self._at_s) * self.speed
        self._at_s = now_s

    def start(self, job: Job) -> None:
        number = self._numbers[job] = next(self._order)
        heapq.heappush(self._marks, (self._progress + job.work_s, number, job))
        self.jobs += 1

    def drop(self, job: Job) -> None:
        del self._numbers[job]
        self.jobs -= 1

    def next_end_s(self) -> float:
        self._clean()
        return self._at_s + (self._marks[0][0] - self._progress) / self.speed if self._marks else float("inf")

    def ended(self) -> Job:
        self.jobs -= 1
        job = heapq.heappop(self._marks)[2]
        del self._numbers[job]
        return job

    def _clean(self) -> None:
        while self._marks and self._numbers.get(self._marks[0][2]) != self._marks[0][1]:
            heapq.heappop(self._marks)


class Simulation:
    """`load` is in units of capacity. `gate` None lets everybody in."""

    def __init__(
        self,
        *,
        seed: int,
        seats: int = 100,
        gated: bool = True,
        tenant: Callable[[Random], tuple[str, str]] | None = None,
        shares: tuple[float, ...] = SHARES,
        token_target_s: float = TOKEN_S,
    ) -> None:
        self.clock = HandClock(0.0)
        self.random = Random(seed)
        self.backend = Backend(seats)
        self.seats = seats
        self.phase = Phase(1.0)
        self._shares = shares
        self._tenant = tenant or (lambda random: ("t", f"u{random.randrange(100_000)}"))
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._rate_per_s = 0.0
        self.gate: Gate | None = None
        if gated:
            limit = LimitRules(capacity=float(seats), token_target_s=token_target_s)
            fairness = Fairness(clock=self.clock)
            self.gate = Gate(GateRules(limit=limit), clock=self.clock, rng=Rng(seed), fairness=fairness)
            self._at(1.0, self._step)
            self._at(0.05, self._look)

    def run(self, load: float, seconds: float) -> Phase:
        """What happened in that time."""
        phase = self.phase = Phase(seconds)
        self._rate_per_s = load * self.seats / MEAN_S
        until_s = self.clock.at_s + seconds
        self._at(self._gap_s(), self._arrive_until(until_s))
        while True:
            event_s = self._events[0][0] if self._events else float("inf")
            end_s = self.backend.next_end_s()
            now_s = min(event_s, end_s)
            if now_s >= until_s:
                self._move(until_s)
                return phase
            self._move(now_s)
            if end_s <= event_s:
                self._finished(self.backend.ended())
            else:
                heapq.heappop(self._events)[2]()

    def _move(self, now_s: float) -> None:
        self.backend.advance(now_s)
        self.clock.at_s = now_s

    def _at(self, after_s: float, act: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.clock.at_s + after_s, next(self._order), act))

    def _gap_s(self) -> float:
        return self.random.expovariate(self._rate_per_s) if self._rate_per_s else float("inf")

    def _arrive_until(self, until_s: float) -> Callable[[], None]:
        def arrive() -> None:
            if self.clock.at_s < until_s:
                self._at(self._gap_s(), arrive)
                self._come()

        return arrive

    def _come(self) -> None:
        tenant, user = self._tenant(self.random)
        turn_class = self.random.choices(range(len(self._shares)), self._shares)[0]
        asker = Asker(turn_class=turn_class, tenant=tenant, user=user)
        work_s = min(LONGEST_S, self.random.lognormvariate(log(MEDIAN_S), SIGMA))
        self.phase.offered[turn_class] += 1
        self.phase.offered_of[tenant] = self.phase.offered_of.get(tenant, 0) + 1
        self._try(Job(asker=asker, work_s=work_s, came_s=self.clock.at_s))

    def _try(self, job: Job) -> None:
        job.try_number += 1
        number = job.try_number
        self._at(PATIENCE_S, lambda: self._lose_patience(job, number))
        if self.gate is None:
            self._start(job)
            return
        answer = self.gate.ask(job.asker, lambda decision: self._decided(job, decision))
        if isinstance(answer, Entry):
            job.entry = answer
        else:
            self._decided(job, answer)

    def _decided(self, job: Job, decision: Decision) -> None:
        job.entry = None
        if isinstance(decision, Refusal):
            self.phase.refused += 1
            if job.is_obedient_return:
                self.phase.returned_in_vain += 1
                key = decision.why, job.asker.turn_class
                self.phase.in_vain_by[key] = self.phase.in_vain_by.get(key, 0) + 1
            self._fail(job, after_s=decision.retry_after_s, obeys=True)
            return
        job.holding = decision
        job.is_obedient_return = False
        self._start(job)

    def _start(self, job: Job) -> None:
        job.started_s = self.clock.at_s
        self.phase.waits_s.append(job.started_s - job.came_s)
        self.backend.start(job)

    def _finished(self, job: Job) -> None:
        self.phase.work_s += job.work_s
        self.phase.took_of.setdefault(job.asker.tenant, []).append(self.clock.at_s - job.came_s)
        self.phase.served[job.asker.turn_class] += 1
        job.try_number += 1
        if self.gate is not None:
            self._give_back(job, tokens=2 * TOKENS_PER_S * job.work_s)

    def _lose_patience(self, job: Job, number: int) -> None:
        if job.try_number != number:
            return
        if job.started_s >= 0.0:
            self.backend.drop(job)
            self._give_back(job, tokens=0.0)
        elif job.entry is not None and self.gate is not None:
            self.gate.leave(job.entry)
        self._fail(job, after_s=self.random.uniform(0.5, 2.0), obeys=False)

    def _give_back(self, job: Job, *, tokens: float) -> None:
        job.started_s = -1.0
        if self.gate is not None and job.holding is not None:
            holding, job.holding = job.holding, None
            self.gate.spent(holding, tokens)
            self.gate.give_back(holding)

    def _fail(self, job: Job, *, after_s: float, obeys: bool) -> None:
        job.try_number += 1
        if job.tries_left == 0:
            return
        job.tries_left -= 1

        def again() -> None:
            job.is_obedient_return = obeys
            self.phase.returned += obeys
            self._try(job)

        self._at(after_s, again)

    def _step(self) -> None:
        """Every running stream tells its pace once a second; here they all have the same."""
        assert self.gate is not None
        for _ in range(min(self.backend.jobs, 50)):
            self.gate.limit.token_took(TOKEN_S / self.backend.speed)
        self.gate.step()
        self._at(1.0, self._step)

    def _look(self) -> None:
        assert self.gate is not None
        self.gate.look()
        self._at(0.05, self._look)


def goodput(phase: Phase, seats: int = 100) -> float:
    return phase.work_s / (seats * phase.seconds)
