"""Turns over HTTP: the hot path. A message comes in, is durable, and its answer goes out whole or as events.

A client that disconnects at any point does not stop its turn.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from ngx_agents.errors import Draining, Forbidden, InvalidRequest
from ngx_agents.gateway.decode import decoded, idempotency_key, known_id, text_of, timeout_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import About
from ngx_agents.gateway.event_stream import EventStream
from ngx_agents.gateway.exchange import JSON, Exchange
from ngx_agents.gateway.first_aid import first_aid
from ngx_agents.gateway.open_streams import CountedStream, open_streams
from ngx_agents.gateway.preferences import NONE, Preferences, applied, preferences_of
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.wire import CancelReply, TurnBody
from ngx_agents.state.commands import Accepted
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.model import TERMINAL
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.turns.model import TurnRequest, TurnView


class TurnRoutes:
    """`max_body_bytes` bounds the body of a message, inclusive; `max_streams` the streams that one user reads by
    `events` at once. Those of a turn just begun are bounded as turns are."""

    def __init__(self, deps: GatewayDeps, max_body_bytes: int, *, max_streams: int) -> None:
        self._streams = open_streams(max_streams)
        self._engine = deps.engine
        self._entrance = deps.entrance
        self._team = deps.team
        self._controls = deps.controls
        self._webhooks = deps.webhooks
        self._max_body_bytes = max_body_bytes
        self._decoder = msgspec.json.Decoder(TurnBody)

    async def submit(self, exchange: Exchange) -> None:
        conversation_id = known_id("c", exchange.parameters["conversation_id"])
        raw = await exchange.body(self._max_body_bytes)
        request = await self._request(exchange, raw, conversation_id=conversation_id)
        with first_aid(self._team, request.text, request.locale) as is_emergency:
            accepted = await self._accept(exchange, request, size_bytes=len(raw), is_emergency=is_emergency)
        if _wants_events(exchange):
            subscription = await self._engine.subscribe(accepted.turn_id, request.owner, None)
            exchange.stream = EventStream(subscription, headers=(_location(accepted.turn_id),))
        elif (prefers := _preferences(exchange)).is_async:
            await self._answer_later(exchange, accepted, conversation_id=conversation_id, prefers=prefers)
        else:
            view = await self._engine.wait(accepted.turn_id, request.owner)
            await exchange.reply(200, msgspec.json.encode(view), (JSON, _location(view.turn_id)))

    async def _accept(
        self, exchange: Exchange, request: TurnRequest, *, size_bytes: int, is_emergency: Callable[[], bool]
    ) -> Accepted:
        ticket = await self._entrance.enter(
            exchange.principal,
            turn_class=request.turn_class,
            size_bytes=size_bytes,
            within_s=request.timeout_s,
            about=About(agent=request.agent, conversation_id=request.conversation_id, is_emergency=is_emergency),
        )
        exchange.announced += ticket.told
        with ticket:
            return await self._engine.accept(
                msgspec.structs.replace(request, ticket=ticket, timeout_s=ticket.left_s(request.timeout_s))
            )

    async def events(self, exchange: Exchange) -> None:
        turn_id, owner = known_id("t", exchange.parameters["turn_id"]), exchange.principal.owner
        self._streams.take(owner)
        try:
            found = await self._engine.subscribe(turn_id, owner, exchange.header(b"last-event-id"))
        except BaseException:
            self._streams.give_back(owner)
            raise
        counted = CountedStream(found, self._streams, owner)
        exchange.stream = EventStream(counted, headers=(_location(turn_id),))

    async def show(self, exchange: Exchange) -> None:
        turn_id = known_id("t", exchange.parameters["turn_id"])
        await exchange.reply_json(await self._engine.view(turn_id, exchange.principal.owner))

    async def cancel(self, exchange: Exchange) -> None:
        turn_id = known_id("t", exchange.parameters["turn_id"])
        status = await self._engine.cancel(turn_id, exchange.principal.owner)
        await exchange.reply_json(CancelReply(turn_id=turn_id, status=status))

    async def _request(self, exchange: Exchange, raw: bytes, *, conversation_id: str) -> TurnRequest:
        body = decoded(self._decoder, raw)
        key = idempotency_key(exchange.header(b"idempotency-key"))
        return TurnRequest(
            conversation_id=conversation_id,
            owner=exchange.principal.owner,
            text=text_of(body.text, "text"),
            turn_class=allowed_class(body.turn_class, exchange.principal, self._controls),
            when_busy=body.when_busy,
            agent=exchange.principal.agent_for(body.agent),
            locale=body.locale,
            timeout_s=timeout_of(exchange.header(b"x-server-timeout")),
            attachments=body.attachments,
            push=None if body.webhook is None else await self._webhook(body),
            idempotency_key=key,
            idempotency_hash=request_hash(exchange, raw) if key is not None else b"",
            is_streamed=_wants_events(exchange) or _preferences(exchange).is_async,
        )

    async def _webhook(self, body: TurnBody) -> PushConfig:
        """Raises InvalidRequest: where it leads to, its key, or a message that may become part of another turn."""
        assert body.webhook is not None
        if body.when_busy == "coalesce":
            raise InvalidRequest("a message with a webhook cannot be taken into another turn", field="when_busy")
        return await self._webhooks.taken_in(body.webhook.url, body.webhook.secret)

    async def _answer_later(
        self, exchange: Exchange, accepted: Accepted, *, conversation_id: str, prefers: Preferences
    ) -> None:
        """202 with where the turn stands; 200 with the answer when it comes within the time the client waits."""
        said = (_location(accepted.turn_id), applied(prefers))
        if prefers.wait_s:
            try:
                async with asyncio.timeout(prefers.wait_s):
                    view = await self._engine.wait(accepted.turn_id, exchange.principal.owner)
            except (TimeoutError, Draining):
                view = await self._engine.view(accepted.turn_id, exchange.principal.owner)
            await exchange.reply_json(view, 200 if view.status in TERMINAL else 202, said)
            return
        if accepted.replayed or accepted.coalesced:
            view = await self._engine.view(accepted.turn_id, exchange.principal.owner)
        else:
            view = TurnView(
                turn_id=accepted.turn_id,
                conversation_id=conversation_id,
                status="queued" if accepted.epoch is None else "running",
            )
        await exchange.reply_json(view, 202, said)


def allowed_class(turn_class: int, principal: Principal, controls: ControlBoard) -> int:
    """Raises Forbidden for critical (0) unless the account may: a body alone never makes a turn critical."""
    if turn_class == 0 and not (principal.is_operator or controls.rules_of(principal.owner).may_be_critical):
        raise Forbidden("this account may not ask for the critical class")
    return turn_class


def _wants_events(exchange: Exchange) -> bool:
    return b"text/event-stream" in exchange.headers.get(b"accept", b"")


def _preferences(exchange: Exchange) -> Preferences:
    return preferences_of(exchange.scope["headers"]) if b"prefer" in exchange.headers else NONE


def request_hash(exchange: Exchange, raw: bytes) -> bytes:
    """SHA-256 over path and body."""
    return hashlib.sha256(exchange.scope["path"].encode() + b"\0" + raw).digest()


def _location(turn_id: str) -> tuple[bytes, bytes]:
    return b"location", b"/v1/turns/" + turn_id.encode()
