"""Keeps the gate going: its looks and steps, the lag of the event loop, what others are told, and the overload signal.

One task from entering to leaving this context. It looks twenty times a second, because that is also how the loop's lag
is measured: a sleep that ends late says how long everybody waits. Once a second it moves the bound, tells the mode
machine how much is refused, and tells the other instances down to which level newcomers are let in here.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import NgxError
from ngx_agents.resilience.admission import Gate
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.resilience.peer_load import PeerLoad, PeerLoads
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

LOOK_EVERY_S = 0.05
STEP_EVERY_S = 1.0
CHANNEL = "gate:load"
PRESSURES = ((0.85, Mode.DEGRADED_4), (0.6, Mode.DEGRADED_3), (0.3, Mode.DEGRADED_2), (0.05, Mode.DEGRADED_1))
log = event_log("gateway")


def told_load(gate: Gate, instance: str) -> bytes:
    """What the instance that runs turns behind this gate says of it to others, in JSON."""
    return msgspec.json.encode(
        PeerLoad(instance=instance, threshold=gate.threshold.value, load=gate.load, waiting=gate.waiting)
    )


class Gatekeeper:
    """`instance` names this server to the others; `runs_turns` False where others run what is let in here. `peers` is
    what they told, also by their answers to what they were asked (`peers.py`)."""

    def __init__(  # noqa: PLR0913  # the gate's surroundings, all by name
        self,
        gate: Gate,
        *,
        modes: Modes,
        clock: Clock,
        metrics: Metrics,
        instance: str,
        shared: Shared | None = None,
        peers: PeerLoads | None = None,
        runs_turns: bool = True,
    ) -> None:
        self._gate = gate
        self._modes = modes
        self._clock = clock
        self._instance = instance
        self._shared = shared
        self._runs_turns = runs_turns
        self._peers = PeerLoads(clock=clock) if peers is None else peers
        self._cut_for = ""
        self._limit = metrics.gauge("ngx_admission_limit", "How many calls may be in flight.").labels()
        self._in_flight = metrics.gauge("ngx_admission_in_flight", "Calls that were let in and are not over.").labels()
        self._waiting = metrics.gauge("ngx_admission_waiting", "Turns that wait to be let in.").labels()
        self._threshold = metrics.gauge("ngx_admission_threshold", "Level down to which newcomers get in.").labels()
        self._lag = metrics.histogram("ngx_loop_lag_seconds", "How late the event loop came round.").labels()
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self._running = [self._tasks.create_task(self._keep())]
        if self._shared is not None:
            self._running.append(self._tasks.create_task(self._hear(self._shared)))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)

    async def _keep(self) -> None:
        step_s = self._clock.monotonic_s() + STEP_EVERY_S
        while True:
            due_s = self._clock.monotonic_s() + LOOK_EVERY_S
            await self._clock.sleep(LOOK_EVERY_S)
            now_s = self._clock.monotonic_s()
            lag_s = max(0.0, now_s - due_s)
            self._gate.limit.loop_lagged(lag_s)
            self._lag.observe(lag_s)
            self._gate.look()
            if now_s >= step_s:
                step_s = now_s + STEP_EVERY_S
                await self._step()

    async def _step(self) -> None:
        gate = self._gate
        if not self._runs_turns:
            gate.peers_threshold = self._peers.threshold
        gate.step()
        if gate.limit.reason and gate.limit.reason != self._cut_for:
            log.warning("admission.cut", reason=gate.limit.reason, limit=round(gate.limit.value))
        self._cut_for = gate.limit.reason
        self._limit.set(gate.limit.value)
        self._in_flight.set(gate.in_flight)
        self._waiting.set(gate.waiting)
        self._threshold.set(gate.threshold.value)
        mode = next((mode for share, mode in PRESSURES if gate.refused_share >= share), Mode.NORMAL)
        self._modes.signal("overload", mode, "turns are refused at the entrance", retry_after_s=1.0)
        if self._shared is not None:
            await self._tell(self._shared)

    async def _tell(self, shared: Shared) -> None:
        if not self._runs_turns:
            return
        try:
            await shared.publish(CHANNEL, told_load(self._gate, self._instance))
        except NgxError as error:
            log.debug("admission.not_told", code=error.code)

    async def _hear(self, shared: Shared) -> None:
        async for payload in shared.listen(CHANNEL):
            if not self._peers.told(payload):
                log.warning("admission.not_understood", size_bytes=len(payload))
