"""What asks for a mode: looks about twice a second at what the server stands on, and tells the mode machine.

Signals: `database` (the journal is away: read-only, or degraded 1 where turns are taken locally; it has a hysteresis of
its own), `shared` (Redis does not answer: degraded 1), `model` (degraded 1 while the first choice is left alone,
degraded 4 while all that were asked are), `region` (degraded 1 while other locations answer for the first). One task,
started and cancelled with this context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from ngx_agents.app.wiring import Parts
from ngx_agents.coordination.commands import Get
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedUnavailable
from ngx_agents.resilience.breaker import BreakerState
from ngx_agents.resilience.modes import MODES_BY_LABEL, Mode, ModeChange
from ngx_agents.state.failover import FailoverJournal
from ngx_agents.telemetry.log import event_log
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.ladder.residency import LOCAL

LOOK_EVERY_S = 0.5
PROBE = "probe"  # a key that nobody sets: that there is an answer is the answer
SHARED_FAILURES = 4  # in a row: about two seconds
log = event_log("app")


def modes_of(first: tuple[str, str], breakers: Mapping[tuple[str, str], BreakerState]) -> tuple[Mode, Mode]:
    """What the model and the region ask for; `first` is the location and model asked first. Keys are alike.

    Without a breaker of the first location nothing is known against it, whoever else has answered.
    """
    away = {way for way, state in breakers.items() if state in ("open", "forced_open")}
    model = Mode.NORMAL
    if first in away:
        model = Mode.DEGRADED_4 if len(away) == len(breakers) else Mode.DEGRADED_1
    here = [way for way in breakers if way[0] == first[0]]
    answers_elsewhere = any(way[0] != first[0] and way not in away for way in breakers)
    is_lost = bool(here) and answers_elsewhere and away.issuperset(here)
    return model, Mode.DEGRADED_1 if is_lost else Mode.NORMAL


class ModeSignals:
    """Enter it to start looking."""

    def __init__(self, parts: Parts) -> None:
        self._clock = parts.clock
        self._modes = parts.foundation.modes
        self._failover = parts.failover
        self._shared = parts.foundation.shared
        self._client = parts.client
        self._shared_failures = 0
        gauge = parts.metrics.gauge("ngx_mode", "1 for the mode that the server is in.", "mode")
        self._cells = {mode: gauge.labels(label) for label, mode in MODES_BY_LABEL.items()}
        self._cells[self._modes.current].set(1.0)
        self._modes.on_change(self._tell)
        self._tasks = asyncio.TaskGroup()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._task = self._tasks.create_task(self._look_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _look_on(self) -> None:
        while True:
            if self._failover is not None:
                self._look_at_database(self._failover)
            if self._client is not None:
                self._look_at_model(self._client)
            if self._shared is not None:
                await self._look_at_shared(self._shared)
            self._modes.tick()
            await self._clock.sleep(LOOK_EVERY_S)

    def _look_at_database(self, failover: FailoverJournal) -> None:
        report = failover.report
        asked = {"read-only": Mode.READ_ONLY, "local": Mode.DEGRADED_1}.get(report.mode, Mode.NORMAL)
        reason = "turns are taken on this instance's disk" if report.mode == "local" else "the journal is away"
        self._modes.signal("database", asked, reason, hold_s=0.0, retry_after_s=report.retry_after_s)

    def _look_at_model(self, client: VertexAIClient) -> None:
        settings = client.settings
        location = LOCAL if settings.provider == "openai" else settings.location
        model, region = modes_of((location, settings.model), client.breakers)
        self._modes.signal("model", model, "calls of the model fail")
        self._modes.signal("region", region, f"{location} does not answer")

    async def _look_at_shared(self, shared: Shared) -> None:
        try:
            await shared.ask(Get(PROBE))
            self._shared_failures = 0
        except SharedUnavailable:
            self._shared_failures += 1
        is_away = self._shared_failures >= SHARED_FAILURES
        self._modes.signal("shared", Mode.DEGRADED_1 if is_away else Mode.NORMAL, "Redis does not answer")

    def _tell(self, change: ModeChange) -> None:
        for mode, cell in self._cells.items():
            cell.set(float(mode is change.mode))
        log.warning("mode.changed", mode=change.mode.label, reasons="; ".join(change.reasons), by=change.by)
