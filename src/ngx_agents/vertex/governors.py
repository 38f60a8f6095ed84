"""Permits to call a model: one governed lane per (project, location, model, traffic), and a bounded line before it.

With room a permit is given at once and synchronously. Otherwise the caller waits in the lane's line (`permit_line.py`)
until a permit is handed to it, or hears at once that none will come before its deadline. Every permit is told its
outcome once; the first word counts. Produced by: callers. Handed out by: the lane's timer and ending calls, in the
event loop. Cancelled by: the caller's own cancel, which takes it out of the line or gives the permit back.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from weakref import WeakValueDictionary

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, ModelThrottled
from ngx_agents.resilience.caller import tenant_now, urgency_of
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.governor import Governor, GovernorRules
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.permit_line import CLASSES, PermitLine, Waiter
from ngx_agents.vertex.permit_measures import PermitMeasures

LEAST_SLEEP_S = 0.001  # the resolution of the loop's timers
Key = tuple[str, str, str, str]


class Permit:
    """One call may be made. Exactly one of its four methods is called when it is over."""

    __slots__ = ("_is_open", "_lane", "_started_s")

    def __init__(self, lane: Lane, started_s: float) -> None:
        self._lane = lane
        self._started_s = started_s
        self._is_open = True

    def answered(self) -> None:
        if self._is_open:
            self._is_open = False
            self._lane._ended()

    def failed(self) -> None:
        """It failed otherwise than with 429."""
        self.answered()

    def cancelled(self) -> None:
        """The caller gave up, or never called."""
        self.answered()

    def throttled(self, error: ModelThrottled) -> None:
        if self._is_open:
            self._is_open = False
            self._lane._throttled(self._started_s, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """A lane as an operator sees it; `pace_per_s` is None while nothing bounds it but the ramp."""

    project: str
    location: str
    model: str
    traffic: str
    pace_per_s: float | None
    in_flight: int
    waiting: int


class Lane:
    """One governor and the line before it. Permits are asked for and given in one event loop."""

    def __init__(
        self,
        rules: GovernorRules,
        *,
        clock: Clock,
        max_waiting: int,
        measures: PermitMeasures,
        fairness: Fairness | None = None,
    ) -> None:
        self.governor = Governor(rules, clock=clock)
        self._now_s = clock.monotonic_s
        self._measures = measures
        self._line: PermitLine[Permit] = PermitLine(max_waiting, fairness)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def is_idle(self) -> bool:
        return not self.governor.in_flight and not self._line

    def try_permit(self, urgency: int = 1) -> Permit | None:
        """A permit if there is room and nobody waits. `urgency` only matters to those who wait."""
        governor = self.governor
        if self._line or governor.wait_s() > 0.0:
            return None
        self._measures.at_once.value += 1.0
        self._measures.took(0.0)
        return Permit(self, governor.start())

    async def permit(self, urgency: int, deadline_s: float) -> Permit:
        """A permit, waited for until `deadline_s` (monotonic) at most; urgency 0 is the most urgent, 3 the least.

        Raises ModelThrottled with `retry_after_s` when none will come in time, when the line is full of calls that are
        as urgent, when a more urgent call takes the place, or when bought capacity is used up (`kind` provisioned).
        """
        permit = self.try_permit(urgency)
        if permit is not None:
            return permit
        waiter = self._enter(min(max(urgency_of(urgency), 0), CLASSES - 1), deadline_s)
        timer = asyncio.get_running_loop().call_later(deadline_s - waiter.since_s, self._expire, waiter)
        try:
            permit = await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if granted.done() and not granted.cancelled() and granted.exception() is None:
                granted.result().cancelled()
            raise
        finally:
            timer.cancel()
            self._line.remove(waiter)
        self._measures.granted_late.inc()
        waited_s = self._now_s() - waiter.since_s
        self._measures.waited_s.observe(waited_s)
        self._measures.took(waited_s)
        return permit

    def _enter(self, urgency: int, deadline_s: float) -> Waiter[Permit]:
        """The caller's place in the line. Raises ModelThrottled."""
        governor, line, now_s = self.governor, self._line, self._now_s()
        wait_s = governor.estimate_s(line.ahead_of(urgency))
        if governor.overflows:
            raise self._refusal("overflow", wait_s)
        if now_s + wait_s > deadline_s:
            raise self._refusal("late", wait_s)
        if line.is_full:
            displaced = line.displace(urgency)
            if displaced is None:
                raise self._refusal("full", governor.estimate_s(len(line)))
            self._refuse(displaced, "displaced", governor.estimate_s(len(line) + 1))
        granted: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        waiter = Waiter(granted=granted, urgency=urgency, since_s=now_s, deadline_s=deadline_s, tenant=tenant_now())
        line.add(waiter)
        self._hand_out()
        return waiter

    def _hand_out(self) -> None:
        """Gives permits to those next in line as far as there is room, and comes back when there is more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._line:
            wait_s = self.governor.wait_s()
            if wait_s == inf:
                return
            if wait_s > 0.0:
                loop = asyncio.get_running_loop()
                self._timer = loop.call_later(max(LEAST_SLEEP_S, wait_s), self._hand_out)
                return
            waiter = self._line.pop()
            if not waiter.granted.done():
                waiter.granted.set_result(Permit(self, self.governor.start()))

    def _ended(self) -> None:
        self.governor.ended()
        if self._line:
            self._hand_out()

    def _throttled(self, started_s: float, error: ModelThrottled) -> None:
        self._measures.throttled[error.kind].inc()
        self.governor.throttled(started_s, kind=error.kind, retry_after_s=error.retry_after_s)
        if self._line:
            self._shed()
            self._hand_out()

    def _shed(self) -> None:
        """Tells those at once who will not get a permit in time now."""
        governor = self.governor
        wait_s = governor.estimate_s(0)
        soonest_s = self._now_s() + wait_s
        for waiter in self._line.waiters():
            if governor.overflows or waiter.deadline_s < soonest_s:
                self._line.remove(waiter)
                self._refuse(waiter, "overflow" if governor.overflows else "late", wait_s)

    def _expire(self, waiter: Waiter[Permit]) -> None:
        self._line.remove(waiter)
        self._refuse(waiter, "late", self.governor.estimate_s(self._line.ahead_of(waiter.urgency)))

    def _refuse(self, waiter: Waiter[Permit], why: str, retry_after_s: float) -> None:
        if not waiter.granted.done():
            waiter.granted.set_exception(self._refusal(why, retry_after_s))

    def _refusal(self, why: str, retry_after_s: float) -> ModelThrottled:
        self._measures.refused[why].inc()
        message = "the model's capacity is used up for now"
        return ModelThrottled(message, retry_after_s=retry_after_s, kind=self.governor.kind)


class Governors:
    """The lanes of one client; at most `max_lanes` are kept, the least recently asked for goes when it is idle.

    `took` hears how long each permit was waited for; `fairness` says which tenant is next.
    """

    def __init__(  # noqa: PLR0913  # the lanes' surroundings, all by name
        self,
        rules: GovernorRules,
        *,
        clock: Clock,
        metrics: Metrics,
        max_waiting: int = 200,
        max_lanes: int = 256,
        took: Callable[[float], None] | None = None,
        fairness: Fairness | None = None,
    ) -> None:
        if max_waiting < 0 or max_lanes < 1:
            raise ConfigError("a line of permits cannot be shorter than nothing, and there is at least one lane")
        self._rules = rules
        self._clock = clock
        self._max_waiting = max_waiting
        self._max_lanes = max_lanes
        self._fairness = fairness
        self._measures = PermitMeasures(metrics, took)
        self._lanes: OrderedDict[Key, Lane] = OrderedDict()
        self._held: WeakValueDictionary[Key, Lane] = WeakValueDictionary()  # who kept a lane and who asks share it

    def lane(self, project: str, location: str, model: str, traffic: str) -> Lane:
        """Their lane, the same one as long as anybody holds it. Raises ModelThrottled when all lanes are busy."""
        key = (project, location, model, traffic)
        lane = self._lanes.get(key)
        if lane is not None:
            self._lanes.move_to_end(key)
            return lane
        if len(self._lanes) >= self._max_lanes:
            self._drop_one()
        lane = self._held.get(key)
        if lane is None:
            lane = Lane(
                self._rules,
                clock=self._clock,
                max_waiting=self._max_waiting,
                measures=self._measures,
                fairness=self._fairness,
            )
        self._lanes[key] = self._held[key] = lane
        return lane

    def view(self) -> list[LaneView]:
        """All lanes, the least recently asked for first."""
        return [_view(key, lane) for key, lane in self._lanes.items()]

    def _drop_one(self) -> None:
        for key, lane in self._lanes.items():
            if lane.is_idle:
                del self._lanes[key]
                return
        raise ModelThrottled("too many models are being called at once", retry_after_s=1.0)


def _view(key: Key, lane: Lane) -> LaneView:
    project, location, model, traffic = key
    pace_per_s = lane.governor.pace_per_s
    return LaneView(
        project=project,
        location=location,
        model=model,
        traffic=traffic,
        pace_per_s=None if pace_per_s == inf else pace_per_s,
        in_flight=lane.governor.in_flight,
        waiting=lane.waiting,
    )
