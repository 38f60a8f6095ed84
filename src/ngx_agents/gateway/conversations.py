"""Conversations of the caller and their messages."""

from __future__ import annotations

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.gateway.decode import decoded, known_id, limit_of, query_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.wire import ConversationBody, MessagePage, MessageView
from ngx_agents.state.commands import (
    CreateConversation,
    DeleteConversation,
    GetConversation,
    ListConversations,
    ListMessages,
)
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import ConversationInfo, Message

MAX_BODY_BYTES = 16_384
DEFAULT_CONVERSATIONS = 50
DEFAULT_MESSAGES = 100


class ConversationRoutes:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._journal = deps.journal
        self._decoder = msgspec.json.Decoder(ConversationBody)

    async def create(self, exchange: Exchange) -> None:
        body = decoded(self._decoder, await exchange.body(MAX_BODY_BYTES))
        info = await new_conversation(self._deps, exchange.principal, title=body.title)
        await exchange.reply_json(info, 201, ((b"location", f"/v1/conversations/{info.id}".encode()),))

    async def index(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListConversations(
            owner=exchange.principal.owner,
            limit=limit_of(query, DEFAULT_CONVERSATIONS),
            cursor=query.get("cursor"),
        )
        await exchange.reply_json(await self._journal.query(question))

    async def show(self, exchange: Exchange) -> None:
        conversation_id = known_id("c", exchange.parameters["conversation_id"])
        info = await self._journal.query(GetConversation(id=conversation_id, owner=exchange.principal.owner))
        if info is None:
            raise NotFound("there is no such conversation")
        await exchange.reply_json(info)

    async def delete(self, exchange: Exchange) -> None:
        conversation_id = known_id("c", exchange.parameters["conversation_id"])
        if not await self._deps.tell(DeleteConversation(id=conversation_id, owner=exchange.principal.owner)):
            raise NotFound("there is no such conversation")
        await exchange.reply(204, b"", ())

    async def messages(self, exchange: Exchange) -> None:
        query = query_of(exchange.scope["query_string"])
        question = ListMessages(
            conversation_id=known_id("c", exchange.parameters["conversation_id"]),
            owner=exchange.principal.owner,
            limit=limit_of(query, DEFAULT_MESSAGES),
            cursor=query.get("cursor"),
        )
        page = await self._journal.query(question)
        await exchange.reply_json(MessagePage(tuple(_view(message) for message in page.items), page.next))


async def new_conversation(deps: GatewayDeps, principal: Principal, *, title: str) -> ConversationInfo:
    """A conversation of the caller, durable."""
    now_s, title = deps.clock.now_s(), title.replace("\0", "")
    conversation_id = deps.ids.new("c", shard_of(principal.owner.user))
    await deps.tell(CreateConversation(id=conversation_id, owner=principal.owner, title=title, now=now_s))
    return ConversationInfo(id=conversation_id, title=title, created_at=now_s, updated_at=now_s, messages=0)


def _view(message: Message) -> MessageView:
    return MessageView(
        id=message.id,
        seq=message.seq,
        role=message.role,
        agent=message.agent,
        text=message.text,
        created_at=message.created_at,
        source=message.source,
        turn_id=message.turn_id or None,
        rung=message.rung,
        model=message.model,
        degraded=message.degraded,
    )
