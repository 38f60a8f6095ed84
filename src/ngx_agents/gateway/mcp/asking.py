"""The tool that asks the team: a turn like any other, its answer as the result of the call.

Who accepts an event stream gets one: comments while it is quiet, progress if it was asked for, the result at the end.
A client that leaves does not stop its turn; the answer is in the conversation.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.errors import NgxError
from ngx_agents.gateway.conversations import new_conversation
from ngx_agents.gateway.decode import known_id, text_of
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.entrance import About
from ngx_agents.gateway.event_stream import EventStream, frames_of
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.first_aid import first_aid
from ngx_agents.gateway.mcp.arguments import Ask
from ngx_agents.gateway.mcp.envelope import Call, result
from ngx_agents.state.commands import DeleteConversation
from ngx_agents.turns.model import TurnRequest, TurnView

TITLE_CHARS = 80
HEARTBEAT = b": heartbeat\n\n"
ENDS = frozenset({"turn.completed", "turn.failed", "turn.cancelled"})
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class Asking:
    def __init__(self, deps: GatewayDeps) -> None:
        self._deps = deps
        self._engine = deps.engine

    async def ask(self, exchange: Exchange, call: Call, arguments: Ask, *, size_bytes: int) -> bytes | None:
        """The result, or None when a stream was left to be sent. Raises NgxError before the turn is accepted."""
        view = await self._accepted(exchange, arguments, size_bytes=size_bytes)
        owner = exchange.principal.owner
        if b"text/event-stream" not in exchange.headers.get(b"accept", b""):
            return result(call, answer_fields(await self._engine.wait(view.turn_id, owner)))
        writer = ResultWriter(call, view)
        subscription = await self._engine.subscribe(view.turn_id, owner, None)
        exchange.stream = EventStream(subscription, translate=writer.translate)
        return None

    async def _accepted(self, exchange: Exchange, arguments: Ask, *, size_bytes: int) -> TurnView:
        text, principal = text_of(arguments.text, "text"), exchange.principal
        agent = principal.agent_for(arguments.agent)
        known = None if arguments.conversation_id is None else known_id("c", arguments.conversation_id)
        with first_aid(self._deps.team, text, arguments.locale) as is_emergency:
            ticket = await self._deps.entrance.enter(
                principal,
                size_bytes=size_bytes,
                about=About(agent=agent, conversation_id=known, is_emergency=is_emergency),
            )
        exchange.announced += ticket.told
        with ticket:
            title = text.strip().splitlines()[0][:TITLE_CHARS]
            request = TurnRequest(
                conversation_id=known or (await new_conversation(self._deps, principal, title=title)).id,
                owner=principal.owner,
                text=text,
                agent=agent,
                locale=arguments.locale,
                ticket=ticket,
            )
            try:
                accepted = await self._engine.accept(request)
            except NgxError:
                if known is None:
                    await self._deps.tell(DeleteConversation(id=request.conversation_id, owner=principal.owner))
                raise
        return TurnView(turn_id=accepted.turn_id, conversation_id=request.conversation_id, status="running")


class ResultWriter:
    """Translates whole SSE frames of one turn, in order, into MCP messages. After the result it is silent."""

    def __init__(self, call: Call, view: TurnView) -> None:
        self._call = call
        self._view = view
        self._text: list[str] = []
        self._artifacts: list[dict[str, Any]] = []
        self._steps = 0
        self._has_ended = False

    def translate(self, chunk: bytes) -> bytes:
        events = frames_of(chunk)
        if not events:
            return b"" if self._has_ended else HEARTBEAT
        return b"".join(self._translate(name, _decode(data)) for name, data in events if not self._has_ended)

    def _translate(self, name: str, data: dict[str, Any]) -> bytes:
        if name == "agent.started":
            return self._progress(data["agent"])
        if name == "text.delta":
            self._text.append(data["text"])
            return self._progress(data["text"])
        if name == "text.reset":
            self._text.clear()
        elif name == "artifact":
            self._artifacts.append(data)
        elif name in ENDS:
            self._has_ended = True
            return _frame(result(self._call, self._fields(name.removeprefix("turn."), data)))
        return b""

    def _fields(self, status: str, data: dict[str, Any]) -> dict[str, Any]:
        return _fields(
            status,
            text="".join(self._text),
            ids={"turn_id": self._view.turn_id, "conversation_id": self._view.conversation_id},
            told=data,
            artifacts=self._artifacts,
        )

    def _progress(self, message: str) -> bytes:
        if self._call.token is None:
            return b""
        self._steps += 1
        params = {"progressToken": self._call.token, "progress": self._steps, "message": message}
        return _frame(_encode({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}))


def answer_fields(view: TurnView) -> dict[str, Any]:
    """An ended turn as the result of the call."""
    told = {
        "source": view.source,
        "model": view.model,
        "degraded": view.degraded,
        "agents": view.agents,
        "code": view.code,
        "message": view.message,
        "retry_after_s": view.retry_after_s,
    }
    return _fields(
        view.status,
        text=view.text,
        ids={"turn_id": view.turn_id, "conversation_id": view.conversation_id},
        told=told,
        artifacts=[msgspec.to_builtins(artifact) for artifact in view.artifacts],
    )


def _fields(
    status: str, *, text: str, ids: dict[str, str], told: dict[str, Any], artifacts: list[dict[str, Any]]
) -> dict[str, Any]:
    data: dict[str, Any] = {**ids, "status": status}
    if status != "completed":
        data |= {name: told.get(name) for name in ("code", "message", "retry_after_s") if told.get(name) is not None}
        words = f"{data.get('code', status)}: {data.get('message', 'the turn did not end with an answer')}"
        return {"content": [{"type": "text", "text": words}], "structuredContent": data, "isError": True}
    data |= {name: told.get(name) for name in ("source", "model", "degraded", "agents")}
    data["artifacts"] = [{name: each.get(name) for name in ("id", "kind", "title", "data")} for each in artifacts]
    return {"content": [{"type": "text", "text": text}], "structuredContent": data, "isError": False}


def _frame(message: bytes) -> bytes:
    return b"event: message\ndata: " + message + b"\n\n"
