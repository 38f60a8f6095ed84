"""The operating mode over HTTP: what it is and why, what it was, and an operator's own word."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.mode_switch import LONGEST_S
from ngx_agents.resilience.modes import ModeChange

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
    """`is_set`: by an operator. `is_everywhere`: the other instances hear of the change that was just made."""

    mode: str
    reasons: tuple[str, ...]
    is_set: bool
    is_everywhere: bool = False
    history: tuple[PastMode, ...] = ()


class ModeRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._modes = deps.modes
        self._switch = deps.mode_switch
        self._trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        self._decoder = msgspec.json.Decoder(ModeBody)

    async def show(self, exchange: Exchange) -> None:
        await exchange.reply_json(self._view())

    async def set(self, exchange: Exchange) -> None:
        """Holds before it is logged: it must be possible while the journal is away, though it is then answered 503."""
        body = decoded(self._decoder, await exchange.body(MAX_BODY_BYTES))
        owner, before = exchange.principal.owner, {"mode": self._modes.current.label}
        is_everywhere = await self._switch.set(
            body.mode, by=f"{owner.tenant}/{owner.user}", reason=body.reason, for_s=body.for_s
        )
        after = {"mode": body.mode, "reason": body.reason, "for_s": body.for_s}
        await self._trail.change(exchange.principal, "mode.set", "mode", before=before, after=after)
        await exchange.reply_json(self._view(is_everywhere=is_everywhere))

    async def take_back(self, exchange: Exchange) -> None:
        before = {"mode": self._modes.current.label}
        is_everywhere = await self._switch.take_back()
        after = {"mode": self._modes.current.label}
        await self._trail.change(exchange.principal, "mode.automatic", "mode", before=before, after=after)
        await exchange.reply_json(self._view(is_everywhere=is_everywhere))

    def _view(self, *, is_everywhere: bool = False) -> ModeView:
        modes = self._modes
        return ModeView(
            mode=modes.current.label,
            reasons=modes.reasons,
            is_set=modes.override is not None,
            is_everywhere=is_everywhere,
            history=tuple(_past(change) for change in reversed(modes.history)),
        )


def _past(change: ModeChange) -> PastMode:
    return PastMode(at=change.at, mode=change.mode.label, reasons=change.reasons, by=change.by)
