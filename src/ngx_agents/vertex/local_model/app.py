"""The HTTP surface of the local model: `/v1/chat/completions`, `/v1/models`, `/health`, in OpenAI's forms.

Raw ASGI, a route each. A caller that disconnects cancels its answer, or its place in the queue. With a token set,
every route but `/health` asks for it.
"""

from __future__ import annotations

import asyncio
import hmac
from contextlib import aclosing

import msgspec
from starlette.types import Receive, Scope, Send

from ngx_agents.errors import MethodNotAllowed, NgxError, NotFound, Unauthenticated
from ngx_agents.vertex.local_model.engine import Engine
from ngx_agents.vertex.local_model.exchange import Exchange
from ngx_agents.vertex.local_model.installed import MODEL_NAME
from ngx_agents.vertex.local_model.prompting import native_body, read_question
from ngx_agents.vertex.local_model.reading import NativeError, WholeAnswer, native_error
from ngx_agents.vertex.local_model.settings import LocalModelSettings

ROUTES = {"/health": "GET", "/v1/models": "GET", "/v1/chat/completions": "POST"}
_encode = msgspec.json.Encoder().encode


class LocalModelApp:
    """One app per process; `token` None means that anyone on this machine may ask."""

    def __init__(self, engine: Engine, settings: LocalModelSettings, token: str | None) -> None:
        self._engine = engine
        self._settings = settings
        self._expected = f"Bearer {token}".encode() if token else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self._route(exchange)
        except NgxError as exc:
            await exchange.refuse(exc)

    async def _route(self, exchange: Exchange) -> None:
        method = ROUTES.get(exchange.path)
        if method is None:
            raise NotFound("there is no such path")
        if exchange.method != method:
            raise MethodNotAllowed((method,))
        if exchange.path == "/health":
            await exchange.respond(200, b'{"status":"ok"}')
            return
        given = exchange.header(b"authorization")
        if self._expected is not None and not hmac.compare_digest(given, self._expected):
            raise Unauthenticated("a bearer token is needed")
        if exchange.path == "/v1/models":
            models = [{"id": MODEL_NAME, "object": "model", "owned_by": "local"}]
            await exchange.respond(200, _encode({"object": "list", "data": models}))
            return
        await self._complete(exchange)

    async def _complete(self, exchange: Exchange) -> None:
        body = await exchange.body(self._settings.max_body_bytes)
        question = read_question(body)
        native = native_body(question, max_prompt_bytes=self._settings.max_prompt_bytes)
        async with asyncio.TaskGroup() as group:
            answering = group.create_task(self._answer(exchange, native, streams=question.stream))
            leaving = group.create_task(_cancel_when_gone(exchange, answering))
            answering.add_done_callback(lambda _: leaving.cancel())

    async def _answer(self, exchange: Exchange, native: bytes, *, streams: bool) -> None:
        try:
            await (self._stream(exchange, native) if streams else self._whole(exchange, native))
        except NgxError as exc:
            await exchange.refuse(exc)

    async def _whole(self, exchange: Exchange, native: bytes) -> None:
        answer = WholeAnswer()
        async with aclosing(self._engine.answer(native)) as chunks:
            async for chunk in chunks:
                answer.take(chunk)
        await exchange.respond(200, answer.completion())

    async def _stream(self, exchange: Exchange, native: bytes) -> None:
        """An error before the first text is a refusal; after it, an event in the stream, which then just ends."""
        async with aclosing(self._engine.answer(native)) as chunks:
            async for chunk in chunks:
                failure = native_error(chunk)
                if failure is not None and not exchange.has_begun:
                    raise failure
                await exchange.event(chunk)
                if failure is not None:
                    break
            else:
                if not exchange.has_begun:
                    raise NativeError("the local model said nothing")
                await exchange.event(b"[DONE]")
        await exchange.end()


async def _cancel_when_gone(exchange: Exchange, answering: asyncio.Task[None]) -> None:
    await exchange.gone()
    answering.cancel()
