"""What is measured of commands to Redis, with the labels resolved ahead."""

from __future__ import annotations

from typing import Any, Literal

from ngx_agents.coordination.commands import Command
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import CounterCell, HistogramCell, Metrics

Outcome = Literal["ok", "unavailable", "refused"]
SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)
STATES: dict[BreakerState, float] = {"closed": 0, "forced_closed": 0, "half_open": 1, "open": 2, "forced_open": 2}
log = event_log("coordination")


class Meters:
    """`use` tells apart those of one process that keep connections of their own, and breakers with them."""

    def __init__(self, metrics: Metrics, *, use: str = "shared") -> None:
        self._use = use
        self._commands = metrics.counter(
            "ngx_shared_commands_total", "Commands to what instances share, by outcome.", "command", "outcome"
        )
        self._seconds = metrics.histogram(
            "ngx_shared_seconds", "Time from command to answer.", "command", buckets=SECONDS
        )
        self._breakers = metrics.gauge(
            "ngx_shared_breaker_state", "0 closed, 1 half-open, 2 open, per Redis server and use.", "server", "use"
        )
        self._corrupt = metrics.counter(
            "ngx_shared_corrupt_total", "Entries in Redis that were foreign or damaged, treated as absent."
        ).labels()
        self._reconnects = metrics.counter(
            "ngx_shared_reconnects_total", "Connections to Redis made anew after one broke.", "use"
        ).labels("commands")
        self._cells: dict[tuple[type[Any] | str, Outcome], tuple[CounterCell, HistogramCell]] = {}

    def answered(self, what: Command[Any] | str, outcome: Outcome, seconds: float) -> None:
        """`what` is a command, or the name of something else that was asked."""
        key = (what if isinstance(what, str) else type(what), outcome)
        cells = self._cells.get(key)
        if cells is None:
            name = what if isinstance(what, str) else type(what).__name__
            cells = self._cells[key] = (self._commands.labels(name, outcome), self._seconds.labels(name))
        cells[0].inc()
        cells[1].observe(seconds)

    def corrupt(self, count: int = 1) -> None:
        if count:
            self._corrupt.inc(count)

    def reconnected(self) -> None:
        self._reconnects.inc()

    def breaker(self, server: str, state: BreakerState, reason: str) -> None:
        self._breakers.labels(server, self._use).set(STATES[state])
        log.warning("shared.breaker", server=server, use=self._use, state=state, reason=reason)
