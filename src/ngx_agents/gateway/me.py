"""What the caller's own account holds: profile, logged data, artifacts, export and erasure."""

from __future__ import annotations

import hashlib
import re

import msgspec

from ngx_agents.errors import InvalidRequest, NotFound
from ngx_agents.gateway.decode import decoded, idempotency_key, known_id, limit_of, query_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.export import send_export
from ngx_agents.gateway.wire import ConsentBody, ConsentList, EraseReply, LogBody, LogReply, ProfileBody
from ngx_agents.state.commands import (
    AddLog,
    EraseUser,
    GetArtifact,
    GetConsents,
    ListArtifacts,
    ListLogs,
    PutConsent,
    PutProfile,
    ReadProfile,
)
from ngx_agents.state.consent import KINDS
from ngx_agents.state.ids import shard_of
from ngx_agents.state.log_kinds import checked
from ngx_agents.state.model import LogEntry, LogKind
from ngx_agents.state.state_commands import Consent

MAX_PROFILE_BYTES = 262_144
MAX_LOG_BYTES = 16_384
MAX_CONSENT_BYTES = 4096
LOG_AHEAD_S = 86_400.0  # the user's today may be the server's tomorrow
DEFAULT_LOGS = 100
DEFAULT_ARTIFACTS = 50
_SECONDS = re.compile(r"\d{1,11}(\.\d{1,9})?")


class MeRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._journal = deps.journal
        self._profile_decoder = msgspec.json.Decoder(ProfileBody)
        self._log_decoder = msgspec.json.Decoder(LogBody)
        self._consent_decoder = msgspec.json.Decoder(ConsentBody)

    async def profile(self, exchange: Exchange) -> None:
        stored = await self._journal.query(ReadProfile(owner=exchange.principal.owner))
        await exchange.reply_json(stored.profile)

    async def put_profile(self, exchange: Exchange) -> None:
        profile = decoded(self._profile_decoder, await exchange.body(MAX_PROFILE_BYTES))
        owner = exchange.principal.owner
        await self._deps.tell(PutProfile(owner=owner, profile=profile, now=self._deps.clock.now_s()))
        await exchange.reply_json(profile)

    async def consents(self, exchange: Exchange) -> None:
        found = await self._journal.query(GetConsents(owner=exchange.principal.owner))
        await exchange.reply_json(ConsentList(found))

    async def put_consent(self, exchange: Exchange) -> None:
        """Decisions are added; asked for `health`, the server may keep no health data before one is given."""
        kind = exchange.parameters["kind"]
        if kind not in KINDS:
            raise InvalidRequest(f"what one can consent to is: {', '.join(KINDS)}", field="kind")
        body = decoded(self._consent_decoder, await exchange.body(MAX_CONSENT_BYTES))
        consent = Consent(kind=kind, version=body.version, is_given=body.is_given, at=self._deps.clock.now_s())
        await self._deps.tell(PutConsent(owner=exchange.principal.owner, consent=consent))
        await exchange.reply_json(consent)

    async def add_log(self, exchange: Exchange) -> None:
        raw = await exchange.body(MAX_LOG_BYTES)
        body = decoded(self._log_decoder, raw)
        now_s = self._deps.clock.now_s()
        at = now_s if body.at is msgspec.UNSET else body.at
        if at > now_s + LOG_AHEAD_S:
            raise InvalidRequest("what has not happened yet cannot be logged", field="at")
        entry = LogEntry(
            id=self._log_id(exchange, raw), kind=body.kind, at=at, data=checked(body.kind, dict(body.data))
        )
        is_keyed = b"idempotency-key" in exchange.headers
        added = await self._deps.tell(AddLog(owner=exchange.principal.owner, entry=entry, is_keyed=is_keyed))
        await exchange.reply_json(LogReply(id=entry.id, added=added), 201 if added else 200)

    async def logs(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListLogs(
            owner=exchange.principal.owner,
            kind=_kind_of(query.get("kind")),
            since=_since_of(query.get("since", "0")),
            limit=limit_of(query, DEFAULT_LOGS),
            cursor=query.get("cursor"),
        )
        await exchange.reply_json(await self._journal.query(question))

    async def artifacts(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListArtifacts(
            owner=exchange.principal.owner,
            turn_id=query.get("turn_id"),
            limit=limit_of(query, DEFAULT_ARTIFACTS),
            cursor=query.get("cursor"),
        )
        await exchange.reply_json(await self._journal.query(question))

    async def artifact(self, exchange: Exchange) -> None:
        artifact_id = known_id("a", exchange.parameters["artifact_id"])
        artifact = await self._journal.query(GetArtifact(id=artifact_id, owner=exchange.principal.owner))
        if artifact is None:
            raise NotFound("there is no such artifact")
        await exchange.reply_json(artifact)

    async def export(self, exchange: Exchange) -> None:
        await send_export(exchange, self._journal)

    async def erase(self, exchange: Exchange) -> None:
        """The journal first, then what is kept of the model's answers; asked again, it erases what was left."""
        owner = exchange.principal.owner
        erased = await self._deps.tell(EraseUser(owner=owner))
        kept_answers = await self._deps.forget_answers(owner)
        await exchange.reply_json(EraseReply(erased={**erased, "kept_answers": kept_answers}))

    def _log_id(self, exchange: Exchange, raw: bytes) -> str:
        """New each time; with an idempotency key its beginning follows from owner and key, its end from the body: a
        retry adds nothing, and another body is told from it."""
        owner = exchange.principal.owner
        shard = shard_of(owner.user)
        key = idempotency_key(exchange.header(b"idempotency-key"))
        if key is None:
            return self._deps.ids.new("l", shard)
        parts = (owner.tenant.encode(), owner.user.encode(), key.encode())
        of_key, of_body = (hashlib.sha256(part).hexdigest().upper() for part in (b"\0".join(parts), raw))
        return f"l_{shard:02x}{of_key[:16]}{of_body[:10]}"


def _kind_of(value: str | None) -> LogKind | None:
    if value is None:
        return None
    try:
        kind: LogKind = msgspec.convert(value, LogKind)
    except msgspec.ValidationError:
        raise InvalidRequest("there is no such kind of log", field="kind") from None
    return kind


def _since_of(value: str) -> float:
    if not _SECONDS.fullmatch(value):
        raise InvalidRequest("since must be Unix seconds", field="since")
    return float(value)
