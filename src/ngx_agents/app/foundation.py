"""What stands before anything else of a server is made."""

from __future__ import annotations

from dataclasses import dataclass

from ngx_agents.clock import Clock
from ngx_agents.coordination.shared import Shared
from ngx_agents.resilience.admission import Gate
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.resilience.modes import Modes
from ngx_agents.resilience.peer_load import PeerLoads
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What stands before anything else is made: time, counting, and what other instances share."""

    clock: Clock
    metrics: Metrics
    courtesy: Courtesy
    traces: Traces
    shared: Shared | None
    keys: tuple[bytes, ...]
    modes: Modes
    gate: Gate
    peer_loads: PeerLoads
