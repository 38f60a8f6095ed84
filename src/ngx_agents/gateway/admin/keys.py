"""API keys as operators handle them: made, listed, rotated with an overlap, revoked; each change logged with itself.

Used by the admin calls and by `ngx keys`. A secret is given out once, when it is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.gateway.admin.audit import AuditTrail
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.decode import decoded
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.identity import MAX_NAME_CHARS
from ngx_agents.gateway.principal import OPERATOR, Principal
from ngx_agents.state.commands import ApiKey, EndKey, ListKeys, PutKey, RevokeKey
from ngx_agents.state.ids import Ids, shard_of
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner

MAX_BODY_BYTES = 65_536
OVERLAP_S = 86_400.0
Word = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[^\x00-\x1f\x7f]*$")]
AgentName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Role = Annotated[str, Meta(pattern=f"^{OPERATOR}$")]


class KeyBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key: whose it is, what it is called, and what it is for. `expires_at` is in Unix seconds."""

    user: Word
    tenant: Word = "default"
    name: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    roles: Annotated[tuple[Role, ...], Meta(max_length=4)] = ()
    agents: Annotated[tuple[AgentName, ...], Meta(max_length=50)] = ()
    expires_at: Annotated[float, Meta(ge=0, le=32_503_680_000)] | None = None


class RotateBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`overlap_s`: how long the former key holds beside the new one."""

    overlap_s: Annotated[float, Meta(ge=0, le=31_536_000)] = OVERLAP_S


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """A key without its secret. `last_used_at` may be up to half a minute behind."""

    id: str
    tenant: str
    user: str
    name: str
    roles: tuple[str, ...]
    agents: tuple[str, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """`secret` is shown this once."""

    key: KeyView
    secret: str


class KeyList(msgspec.Struct, frozen=True):
    """Oldest first."""

    items: tuple[KeyView, ...]


class Keys:
    """What can be done with keys, by whoever the principal is. `knows` tells whether there is such an agent."""

    def __init__(self, journal: Journal, ids: Ids, trail: AuditTrail, *, knows: Callable[[str], bool]) -> None:
        self._journal = journal
        self._ids = ids
        self._trail = trail
        self._knows = knows

    async def all(self) -> tuple[ApiKey, ...]:
        found: tuple[ApiKey, ...] = await self._journal.query(ListKeys())
        return found

    async def create(self, by: Principal, body: KeyBody, now_s: float) -> tuple[ApiKey, str]:
        """The key and its secret. Raises InvalidRequest for names that could not sign in, agents that nobody knows, and
        an end that is over."""
        unknown = sorted(name for name in body.agents if not self._knows(name))
        if unknown:
            raise InvalidRequest(f"there is no agent {unknown[0]}", field="agents")
        if body.expires_at is not None and body.expires_at <= now_s:
            raise InvalidRequest("a key must end later than now", field="expires_at")
        if not (body.tenant.isprintable() and body.user.isprintable()):
            raise InvalidRequest("names must be printable", field="user")
        secret, digest = new_api_key()
        key = ApiKey(
            id=self._ids.new("k", shard_of(body.user)),
            digest=digest,
            owner=Owner(body.tenant, body.user),
            roles=tuple(sorted(set(body.roles))),
            created_at=now_s,
            name=body.name,
            agents=tuple(sorted(set(body.agents))),
            expires_at=body.expires_at,
        )
        await self._create(by, key)
        return key, secret

    async def rotate(self, by: Principal, key_id: str, overlap_s: float, now_s: float) -> tuple[ApiKey, str]:
        """A new key like the one named, which holds on for `overlap_s`. Raises NotFound unless it holds now.

        The former is ended only if nobody revoked it meanwhile; else the new one, whose secret nobody was told, is
        revoked too.
        """
        former = await self._known(key_id)
        if not former.holds_at(now_s):
            raise NotFound(f"key {key_id} does not hold any more")
        secret, digest = new_api_key()
        new_id = self._ids.new("k", shard_of(former.owner.user))
        key = msgspec.structs.replace(former, id=new_id, digest=digest, created_at=now_s, last_used_at=None)
        await self._create(by, key)
        ends_at = now_s + overlap_s if former.expires_at is None else min(former.expires_at, now_s + overlap_s)
        ended = msgspec.structs.replace(former, expires_at=ends_at)
        try:
            await self._change(by, "key.expire", EndKey(digest=former.digest, at=ends_at), former, ended)
        except NotFound:
            await self.revoke(by, new_id, now_s)
            raise
        return key, secret

    async def revoke(self, by: Principal, key_id: str, now_s: float) -> None:
        """Raises NotFound. Again is nothing."""
        former = await self._known(key_id)
        if former.revoked_at is None:
            revoked = msgspec.structs.replace(former, revoked_at=now_s)
            await self._change(by, "key.revoke", RevokeKey(digest=former.digest, now=now_s), former, revoked)

    async def _known(self, key_id: str) -> ApiKey:
        found = next((key for key in await self.all() if key.id == key_id), None)
        if found is None:
            raise NotFound("there is no such key")
        return found

    async def _create(self, by: Principal, key: ApiKey) -> None:
        await self._trail.change(by, "key.create", f"key/{key.id}", command=PutKey(key=key), after=_told(key))

    async def _change(
        self, by: Principal, action: str, command: RevokeKey | EndKey, former: ApiKey, changed: ApiKey
    ) -> None:
        await self._trail.change(
            by, action, f"key/{former.id}", command=command, before=_told(former), after=_told(changed)
        )


class KeyRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._clock = deps.clock
        self._keys = Keys(deps.journal, deps.ids, AuditTrail(deps.journal, deps.ids, deps.clock), knows=deps.team.knows)
        self._body = msgspec.json.Decoder(KeyBody)
        self._rotate = msgspec.json.Decoder(RotateBody)

    async def list_keys(self, exchange: Exchange) -> None:
        await exchange.reply_json(KeyList(tuple(view_of(key) for key in await self._keys.all())))

    async def create_key(self, exchange: Exchange) -> None:
        body = decoded(self._body, await exchange.body(MAX_BODY_BYTES))
        key, secret = await self._keys.create(exchange.principal, body, self._clock.now_s())
        await exchange.reply_json(NewKey(key=view_of(key), secret=secret), 201)

    async def rotate_key(self, exchange: Exchange) -> None:
        body = decoded(self._rotate, await exchange.body(MAX_BODY_BYTES))
        key_id, now_s = exchange.parameters["key_id"], self._clock.now_s()
        key, secret = await self._keys.rotate(exchange.principal, key_id, body.overlap_s, now_s)
        await exchange.reply_json(NewKey(key=view_of(key), secret=secret), 201)

    async def revoke_key(self, exchange: Exchange) -> None:
        await self._keys.revoke(exchange.principal, exchange.parameters["key_id"], self._clock.now_s())
        await exchange.reply(204, b"", ())


def view_of(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        tenant=key.owner.tenant,
        user=key.owner.user,
        name=key.name,
        roles=key.roles,
        agents=key.agents,
        created_at=key.created_at,
        expires_at=key.expires_at,
        revoked_at=key.revoked_at,
        last_used_at=key.last_used_at,
    )


def _told(key: ApiKey) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(view_of(key))
    return built
