"""What the edge is given to work with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
from starlette.types import ASGIApp

from ngx_agents.agents.cards import AgentCard
from ngx_agents.clock import Clock
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine


class Roster(Protocol):
    """The part of a team that the edge shows."""

    def cards(self) -> Sequence[AgentCard]: ...

    def knows(self, agent_id: str) -> bool: ...


def always() -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDeps:
    """`mode` names the operating mode (`normal`, `degraded-1`, …); `ready` is the gate: False while starting or draining.

    `model_name` says what answers (a model's name, or `template`). `console` gets the paths that nothing here knows.
    """

    engine: TurnEngine
    journal: Journal
    ids: Ids
    clock: Clock
    metrics: Metrics
    team: Roster
    mode: Callable[[], str]
    model_name: str
    ready: Callable[[], bool] = always
    console: ASGIApp | None = None
