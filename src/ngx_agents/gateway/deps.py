"""What the edge is given to work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.types import ASGIApp

from ngx_agents.clock import Clock
from ngx_agents.errors import NgxError
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.mode_switch import ModeSwitch
from ngx_agents.gateway.peer_signature import PeerSignature
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.commands import Command
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.ids import Ids
from ngx_agents.state.journal import Journal
from ngx_agents.state.key_uses import KeyUses
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batches.intake import BatchDesk
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.webhooks import WebhookDesk


class Card(Protocol):
    """What describes an agent to callers: a msgspec Struct with at least an id."""

    @property
    def id(self) -> str: ...


class Roster(Protocol):
    """The part of a team that the edge shows."""

    def cards(self) -> Sequence[Card]: ...

    def knows(self, agent_id: str) -> bool: ...

    def first_aid(self, text: str, locale: str | None) -> str | None:
        """What must be said to this message whatever else can be; None for nearly all."""
        ...


def always() -> bool:
    return True


def journal_is_well() -> str:
    return "normal"


async def nothing_kept(owner: Owner) -> int:
    return 0


Exposition = Callable[[], Awaitable[bytes]]
"""Prometheus's text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayDeps:
    """`entrance` lets turns in; `controls` are what operators decided. `journal_mode` names the journal's own mode;
    `ready` is False while the server starts or drains.

    `model_name` says what answers (a model's name, or `template`). `forget_answers` erases the model's answers that are
    kept for a user; how many there were. With `peer_signature` other instances may ask about turns that run here, and
    are told `own_load`. `console` gets the paths unknown here. `a2a` None: the open protocol is not served; `guard`
    knows where webhooks may lead. `exposition` is told at `/metrics` in place of what `metrics` have alone.
    """

    engine: TurnEngine
    journal: Journal
    ids: Ids
    clock: Clock
    metrics: Metrics
    team: Roster
    modes: Modes
    mode_switch: ModeSwitch
    entrance: Entrance
    controls: ControlBoard
    batches: BatchDesk
    webhooks: WebhookDesk
    model_name: str
    journal_mode: Callable[[], str] = journal_is_well
    ready: Callable[[], bool] = always
    forget_answers: Callable[[Owner], Awaitable[int]] = nothing_kept
    peer_signature: PeerSignature | None = None
    own_load: Callable[[], bytes] | None = None
    console: ASGIApp | None = None
    a2a: A2aSettings | None = None
    guard: Guard = field(default_factory=Guard)
    key_uses: KeyUses | None = None
    exposition: Exposition | None = None

    async def tell(self, command: Command) -> Any:
        """The command's result. Raises what the command names, or JournalUnavailable."""
        (result,) = await self.journal.transact([command])
        if isinstance(result, NgxError):
            raise result
        return result
