"""Tokens taken back before their time: one by its id, or all that a user was given before a moment. Each change logged.

Used by the admin calls, by `ngx tokens` and, for their own tokens, by users who sign out everywhere. A revocation is
final: who was meant to stay signs in again.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec
from msgspec import Meta

from ngx_agents.clock import Clock
from ngx_agents.errors import InvalidRequest
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.admin.keys import Word
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import ACCOUNT_JOIN, Revocation
from ngx_agents.state.model import Owner
from ngx_agents.state.revocations import named_token, user_name

MAX_BODY_BYTES = 4_096


class RevokeBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `jti`, a token's id; or `user`, whose tokens issued before `issued_before` (Unix seconds, now when left
    out) hold no more."""

    jti: Word | None = None
    tenant: Word = "default"
    user: Word | None = None
    issued_before: Annotated[float, Meta(ge=0, le=32_503_680_000)] | None = None


class RevocationView(msgspec.Struct, frozen=True, kw_only=True):
    """`id` is `token:` and a token's id, or `user:`, tenant, `/` and user. Kept until all have expired, `until`."""

    id: str
    issued_before: float | None
    until: float


class RevocationList(msgspec.Struct, frozen=True):
    """By id."""

    items: tuple[RevocationView, ...]


class Revoking:
    """What can be done with tokens, by whoever the principal is. `life_s` is how long a token may live."""

    def __init__(self, controls: ControlBoard, trail: AuditTrail, clock: Clock, *, life_s: float) -> None:
        self._controls = controls
        self._trail = trail
        self._clock = clock
        self._life_s = life_s

    async def all(self) -> tuple[RevocationView, ...]:
        await self._controls.refresh()
        found = self._controls.all_of(Revocation)
        return tuple(_view(name, found[name]) for name in sorted(found))

    async def token(self, by: Principal, jti: str) -> RevocationView:
        """Raises InvalidRequest for what is no token's id, Overloaded when there are too many revocations."""
        return await self._put(by, named_token(jti), None)

    async def user(self, by: Principal, owner: Owner, issued_before: float | None = None) -> RevocationView:
        """All that were issued up to now, when no moment is given. A token says in which second it was issued, so the
        second that runs counts as before. Raises InvalidRequest for a moment to come, Overloaded."""
        now_s = self._clock.now_s()
        if issued_before is None:
            issued_before = math.floor(now_s) + 1.0
        elif issued_before > now_s:
            raise InvalidRequest("tokens that were not issued yet cannot be taken back", field="issued_before")
        return await self._put(by, user_name(owner), issued_before)

    async def _put(self, by: Principal, name: str, issued_before: float | None) -> RevocationView:
        """What was taken back already stays so."""
        now_s = self._clock.now_s()
        await self._controls.refresh()
        known = self._controls.all_of(Revocation).get(name)
        if known is not None and (issued_before is None or (known.issued_before or 0.0) >= issued_before):
            return _view(name, known)
        made = Revocation(until=now_s + self._life_s, issued_before=issued_before)
        await self._trail.change(
            by,
            "revocation.put",
            f"revocation/{_shown(name)}",
            command=PutControl(kind="revocation", id=name, body=msgspec.json.encode(made), now=now_s),
            after=msgspec.to_builtins(made),
        )
        await self._controls.refresh()
        return _view(name, made)


class RevocationRoutes:
    def __init__(self, deps: GatewayDeps, auth: AuthSettings) -> None:
        self._has_tokens = auth.mode == "jwt"
        trail = AuditTrail(deps.journal, deps.ids, deps.clock)
        self._revoking = Revoking(deps.controls, trail, deps.clock, life_s=auth.token_life_s)
        self._decoder = msgspec.json.Decoder(RevokeBody)

    async def list_revocations(self, exchange: Exchange) -> None:
        await exchange.reply_json(RevocationList(await self._revoking.all()))

    async def revoke(self, exchange: Exchange) -> None:
        body = decoded(self._decoder, await exchange.body(MAX_BODY_BYTES))
        self._require_tokens()
        if (body.jti is None) == (body.user is None):
            raise InvalidRequest("name a token by `jti`, or a user by `user`", field="jti")
        if body.jti is not None:
            if body.issued_before is not None:
                raise InvalidRequest("one token is taken back whenever it was issued", field="issued_before")
            view = await self._revoking.token(exchange.principal, body.jti)
        else:
            assert body.user is not None
            owner = Owner(body.tenant, body.user)
            view = await self._revoking.user(exchange.principal, owner, body.issued_before)
        await exchange.reply_json(view, 201)

    async def sign_out(self, exchange: Exchange) -> None:
        """Everywhere, here too: the token that asks for it holds no more either. API keys hold on."""
        self._require_tokens()
        await exchange.reply_json(await self._revoking.user(exchange.principal, exchange.principal.owner))

    def _require_tokens(self) -> None:
        if not self._has_tokens:
            raise InvalidRequest("this server takes no tokens, so there are none to take back")


def _shown(name: str) -> str:
    return name.replace(ACCOUNT_JOIN, "/")


def _view(name: str, found: Revocation) -> RevocationView:
    return RevocationView(id=_shown(name), issued_before=found.issued_before, until=found.until)
