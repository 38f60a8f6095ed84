"""The operating mode over HTTP: what it is and why, what it was, and an operator's own word."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.mode_switch import LONGEST_S
from ngx_agents.resilience.modes import ModeChange
from ngx_agents.state.controls import OperatorMode

MAX_BODY_BYTES = 4_096
ModeLabel = Literal["normal", "degraded-1", "degraded-2", "degraded-3", "degraded-4", "read-only"]


class ModeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds in place of what the signals say, for `for_s` seconds, 30 days at most."""

    mode: ModeLabel
    reason: Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
    for_s: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_S)] = LONGEST_S


class PastMode(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is Unix time; `by` is `signals`, or who set it."""

    at: float
    mode: str
    reasons: tuple[str, ...]
    by: str


class ModeView(msgspec.Struct, frozen=True, kw_only=True):
    """`is_set`: by an operator. `is_everywhere`: all instances have that word, or its end, within seconds; not so for
    one that was said here while the journal was away."""

    mode: str
    reasons: tuple[str, ...]
    is_set: bool
    is_everywhere: bool
    history: tuple[PastMode, ...] = ()


class ModeRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._modes = deps.modes
        self._switch = deps.mode_switch
        self._controls = deps.controls
        self._clock = deps.clock
        self._trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        self._decoder = msgspec.json.Decoder(ModeBody)

    async def show(self, exchange: Exchange) -> None:
        await exchange.reply_json(self._view())

    async def set(self, exchange: Exchange) -> None:
        """Holds here before it is stored: it must be possible while the journal is away, then it is answered 503."""
        body = decoded(self._decoder, await exchange.body(MAX_BODY_BYTES))
        owner = exchange.principal.owner
        word = OperatorMode(
            mode=body.mode,
            by=f"{owner.tenant}/{owner.user}",
            reason=body.reason,
            until=self._clock.now_s() + body.for_s,
        )
        after = {"mode": body.mode, "reason": body.reason, "for_s": body.for_s}
        await self._change(exchange, "mode.set", word, after)

    async def take_back(self, exchange: Exchange) -> None:
        await self._change(exchange, "mode.automatic", None, None)

    async def _change(
        self, exchange: Exchange, action: str, word: OperatorMode | None, after: dict[str, Any] | None
    ) -> None:
        before = {"mode": self._modes.current.label}
        command = self._switch.say(word)
        after = after or {"mode": self._modes.current.label}
        await self._trail.change(exchange.principal, action, "mode", command=command, before=before, after=after)
        await self._controls.try_refresh()
        await exchange.reply_json(self._view())

    def _view(self) -> ModeView:
        modes = self._modes
        return ModeView(
            mode=modes.current.label,
            reasons=modes.reasons,
            is_set=modes.override is not None,
            is_everywhere=self._switch.is_everywhere,
            history=tuple(_past(change) for change in reversed(modes.history)),
        )


def _past(change: ModeChange) -> PastMode:
    return PastMode(at=change.at, mode=change.mode.label, reasons=change.reasons, by=change.by)
