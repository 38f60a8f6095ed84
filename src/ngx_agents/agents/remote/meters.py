"""What is measured of the calls to agents elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import SECONDS, Metrics

STATES: dict[BreakerState, float] = {"closed": 0, "forced_closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
_log = event_log("remote")


class RemoteMeters:
    def __init__(self, metrics: Metrics) -> None:
        self._calls = metrics.counter("ngx_remote_calls_total", "Calls to agents elsewhere.", "agent", "outcome")
        self._seconds = metrics.histogram(
            "ngx_remote_seconds", "From asking an agent elsewhere to the end of its answer.", "agent", buckets=SECONDS
        )
        self._breakers = metrics.gauge("ngx_remote_breaker_state", "0 closed, 1 half-open, 2 open.", "agent")
        self._cards = metrics.counter("ngx_remote_cards_total", "Looks at agent cards elsewhere.", "agent", "outcome")

    def ended(self, agent: str, outcome: str, seconds: float) -> None:
        """`outcome` is completed or the code of an error."""
        self._calls.labels(agent, outcome).inc()
        self._seconds.labels(agent).observe(seconds)

    def looked(self, agent: str, outcome: str) -> None:
        self._cards.labels(agent, outcome).inc()

    def breaker(self, agent: str) -> Callable[[BreakerState, str], None]:
        """What a breaker calls when its state changes."""

        def changed(state: BreakerState, reason: str) -> None:
            self._breakers.labels(agent).set(STATES[state])
            _log.warning("remote.breaker", agent=agent, state=state, reason=reason)

        return changed
