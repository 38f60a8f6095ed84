"""What is measured of the calls between agents, labels resolved ahead; one log event per kind of refusal, not per
message: the first of each minute is told, with how many there were since the last."""

from __future__ import annotations

from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import SECONDS, CounterCell, Metrics

STATES: dict[BreakerState, float] = {"closed": 0, "forced_closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
TOLD_EVERY_S = 60.0
log = event_log("a2a")


class AgentMeters:
    """Those of one agent."""

    __slots__ = ("_agent", "_ended", "_meters", "depth", "running", "service", "waited")

    def __init__(self, meters: Meters, agent: str) -> None:
        self._meters = meters
        self._agent = agent
        self._ended: dict[str, CounterCell] = {}
        self.depth = meters.depth.labels(agent)
        self.running = meters.running.labels(agent)
        self.waited = meters.waited.labels(agent)
        self.service = meters.service.labels(agent)

    def ended(self, outcome: str) -> None:
        """completed, failed, deadline or cancelled."""
        cell = self._ended.get(outcome)
        if cell is None:
            cell = self._ended[outcome] = self._meters.ended.labels(self._agent, outcome)
        cell.inc()

    def refused(self, reason: str, turn_class: int, now_s: float) -> None:
        self._meters.refused(self._agent, reason, turn_class, now_s)

    def breaker(self, state: BreakerState, reason: str) -> None:
        self._meters.breakers.labels(self._agent).set(STATES[state])
        log.warning("a2a.breaker", agent=self._agent, state=state, reason=reason)

    def ejected(self, instance: str) -> None:
        self._meters.ejections.labels(self._agent).inc()
        log.warning("a2a.ejected", agent=self._agent, instance=instance)


class Meters:
    def __init__(self, metrics: Metrics) -> None:
        self.depth = metrics.gauge("ngx_a2a_waiting", "Messages that wait for a worker.", "agent")
        self.running = metrics.gauge("ngx_a2a_running", "Messages that agents work on.", "agent")
        self.waited = metrics.histogram(
            "ngx_a2a_wait_seconds", "From acceptance to a worker.", "agent", buckets=SECONDS
        )
        self.service = metrics.histogram("ngx_a2a_service_seconds", "From worker to reply.", "agent", buckets=SECONDS)
        self.ended = metrics.counter("ngx_a2a_messages_total", "Accepted messages by outcome.", "agent", "outcome")
        self.breakers = metrics.gauge("ngx_a2a_breaker_state", "0 closed, 1 half-open, 2 open.", "agent")
        self.ejections = metrics.counter("ngx_a2a_ejections_total", "Instances left out for failing.", "agent")
        self.pending = metrics.gauge("ngx_a2a_pending", "Accepted and unfinished messages, all agents.").labels()
        self.duplicates = metrics.counter("ngx_a2a_duplicates_total", "Deliveries or replies that came twice.").labels()
        self._refused = metrics.counter(
            "ngx_a2a_refused_total", "Messages not begun, by reason and class.", "agent", "reason", "class"
        )
        self._untold: dict[tuple[str, str, int], tuple[float, int]] = {}

    def of(self, agent: str) -> AgentMeters:
        return AgentMeters(self, agent)

    def refused(self, agent: str, reason: str, turn_class: int, now_s: float) -> None:
        self._refused.labels(agent, reason, str(turn_class)).inc()
        key = (agent, reason, turn_class)
        next_s, untold = self._untold.get(key, (now_s, 0))
        if now_s < next_s:
            self._untold[key] = (next_s, untold + 1)
            return
        self._untold[key] = (now_s + TOLD_EVERY_S, 0)
        log.warning("a2a.refused", agent=agent, reason=reason, turn_class=turn_class, count=untold + 1)
