"""`POST /v1/chat/completions` and `GET /v1/models`: the team behind the protocol every LLM client speaks.

A call is a turn. Without a conversation id (`metadata.conversation_id` or the header `X-Conversation-Id`) a
conversation is made for it and the earlier messages of the body are imported; with one, what the conversation holds
counts and only the last message is read. The answer's headers name turn and conversation.
"""

from __future__ import annotations

import msgspec

from ngx_agents.errors import NgxError, NotFound
from ngx_agents.gateway.conversations import new_conversation
from ngx_agents.gateway.decode import decoded, idempotency_key, known_id, timeout_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import About
from ngx_agents.gateway.event_stream import EventStream
from ngx_agents.gateway.exchange import JSON, Exchange, Header
from ngx_agents.gateway.first_aid import first_aid
from ngx_agents.gateway.openai_errors import openai_error
from ngx_agents.gateway.openai_images import Image, images_of, kept
from ngx_agents.gateway.openai_intake import Said, asked, said_before
from ngx_agents.gateway.openai_stream import ChunkWriter
from ngx_agents.gateway.openai_wire import (
    ChatBody,
    ChatChoice,
    ChatCompletion,
    ChatReplyMessage,
    ModelCard,
    ModelList,
    TurnNote,
    chat_usage,
)
from ngx_agents.gateway.problems import status_of_code
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.gateway.turns import request_hash
from ngx_agents.state.commands import DeleteConversation, ImportMessages
from ngx_agents.state.ids import shard_in
from ngx_agents.state.model import Message
from ngx_agents.turns.model import TurnRequest, TurnView

ROUTED = "ngx"
TITLE_CHARS = 80


class ChatRoutes:
    def __init__(self, deps: GatewayDeps, settings: GatewaySettings) -> None:
        self._deps = deps
        self._engine = deps.engine
        self._max_body_bytes = settings.max_body_bytes
        self._attachments_bytes = settings.attachments_bytes
        self._decoder = msgspec.json.Decoder(ChatBody)

    async def models(self, exchange: Exchange) -> None:
        names = [ROUTED, *(card.id for card in self._deps.team.cards())]
        await exchange.reply_json(ModelList(data=tuple(ModelCard(id=name) for name in names)))

    async def model(self, exchange: Exchange) -> None:
        name = exchange.parameters["model"]
        self._agent_of(name)
        await exchange.reply_json(ModelCard(id=name))

    async def complete(self, exchange: Exchange) -> None:
        raw = await exchange.body(self._max_body_bytes)
        body = decoded(self._decoder, raw)
        agent, text, earlier = exchange.principal.agent_for(self._agent_of(body.model)), asked(body), said_before(body)
        images = images_of(body)
        key = idempotency_key(exchange.header(b"idempotency-key"))
        given = (body.metadata and body.metadata.conversation_id) or exchange.header(b"x-conversation-id")
        known = known_id("c", given) if given else None
        timeout_s = timeout_of(exchange.header(b"x-server-timeout"))
        with first_aid(self._deps.team, text) as is_emergency:
            ticket = await self._deps.entrance.enter(
                exchange.principal,
                size_bytes=len(raw),
                within_s=timeout_s,
                about=About(agent=agent, conversation_id=known, is_emergency=is_emergency),
            )
        exchange.announced += ticket.told
        with ticket:
            request = TurnRequest(
                conversation_id=known or await self._begin(exchange, text, earlier=earlier),
                owner=exchange.principal.owner,
                text=text,
                agent=agent,
                idempotency_key=key,
                idempotency_hash=request_hash(exchange, raw) if key is not None else b"",
                is_streamed=bool(body.stream),
                timeout_s=ticket.left_s(timeout_s),
                ticket=ticket,
            )
            turn_id = await self._accept(request, images, is_new=known is None)
        if body.stream:
            await self._stream(exchange, body, request=request, turn_id=turn_id)
        else:
            await self._whole(exchange, await self._engine.wait(turn_id, request.owner), model=body.model)

    def _agent_of(self, model: str) -> str | None:
        """Raises NotFound for a name that is neither `ngx` nor an agent."""
        if model == ROUTED:
            return None
        if not self._deps.team.knows(model):
            raise NotFound("there is no such model; GET /v1/models lists them")
        return model

    async def _begin(self, exchange: Exchange, text: str, *, earlier: tuple[Said, ...]) -> str:
        title = text.strip().splitlines()[0][:TITLE_CHARS]
        owner = exchange.principal.owner
        info = await new_conversation(self._deps, exchange.principal, title=title)
        if earlier:
            messages = tuple(self._message(info.id, said, seq=seq) for seq, said in enumerate(earlier, 1))
            now_s = self._deps.clock.now_s()
            await self._deps.tell(ImportMessages(conversation_id=info.id, owner=owner, messages=messages, now=now_s))
        return info.id

    def _message(self, conversation_id: str, said: Said, *, seq: int) -> Message:
        return Message(
            id=self._deps.ids.new("m", shard_in(conversation_id)),
            seq=seq,
            role="user" if said.role == "user" else "assistant",
            text=said.text,
            created_at=self._deps.clock.now_s(),
            turn_id="",
        )

    async def _accept(self, request: TurnRequest, images: tuple[Image, ...], *, is_new: bool) -> str:
        """The turn's id. A conversation made for a call that is refused or was made before is not left behind."""
        try:
            request = await kept(self._deps, images, request, most_bytes=self._attachments_bytes)
            accepted = await self._engine.accept(request)
        except NgxError:
            if is_new:
                await self._drop(request)
            raise
        if accepted.replayed and is_new:
            await self._drop(request)
        return accepted.turn_id

    async def _drop(self, request: TurnRequest) -> None:
        await self._deps.tell(DeleteConversation(id=request.conversation_id, owner=request.owner))

    async def _whole(self, exchange: Exchange, view: TurnView, *, model: str) -> None:
        headers = _headers(view.turn_id, view.conversation_id)
        if view.status != "completed":
            code = view.code or "cancelled"
            status = status_of_code(code)
            error = openai_error(status=status, message=view.message or "the turn was cancelled", code=code)
            await exchange.reply(status, msgspec.json.encode(error), (JSON, *headers))
            return
        completion = ChatCompletion(
            id=f"chatcmpl-{view.turn_id}",
            created=int(self._deps.clock.now_s()),
            model=model,
            choices=(ChatChoice(message=ChatReplyMessage(content=view.text)),),
            usage=chat_usage(view.usage),
            ngx=_note(view),
        )
        await exchange.reply_json(completion, 200, headers)

    async def _stream(self, exchange: Exchange, body: ChatBody, *, request: TurnRequest, turn_id: str) -> None:
        view = await self._engine.view(turn_id, request.owner)
        writer = ChunkWriter(
            turn_id=turn_id,
            conversation_id=view.conversation_id,
            model=body.model,
            created=int(self._deps.clock.now_s()),
            with_usage=bool(body.stream_options and body.stream_options.include_usage),
        )
        subscription = await self._engine.subscribe(turn_id, request.owner, None)
        exchange.stream = EventStream(
            subscription, headers=_headers(turn_id, view.conversation_id), translate=writer.translate
        )


def _headers(turn_id: str, conversation_id: str) -> tuple[Header, ...]:
    return (b"x-turn-id", turn_id.encode()), (b"x-conversation-id", conversation_id.encode())


def _note(view: TurnView) -> TurnNote:
    return TurnNote(
        turn_id=view.turn_id,
        conversation_id=view.conversation_id,
        source=view.source,
        rung=view.rung,
        model=view.model,
        location=view.location,
        degraded=view.degraded,
        agents=view.agents,
    )
