"""The protocol's HTTP bindings behind the door: JSON-RPC and HTTP+JSON, on the SDK's dispatchers and our handler."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from a2a.server.request_handlers.response_helpers import build_error_response
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.server.routes.rest_routes import create_rest_routes
from a2a.utils.error_handlers import build_error_details, build_rest_error_payload
from a2a.utils.errors import A2AError, JSONParseError, MethodNotFoundError
from starlette.requests import Request
from starlette.routing import Mount, Router
from starlette.types import Message, Receive, Scope, Send

from ngx_agents.errors import MethodNotAllowed, NotFound
from ngx_agents.gateway.a2a.call import SCOPE, Call, CallContexts
from ngx_agents.gateway.a2a.cards import Cards
from ngx_agents.gateway.a2a.handler import TaskHandler
from ngx_agents.gateway.a2a.intake import Intake
from ngx_agents.gateway.a2a.older import OlderRoutes, with_text_files
from ngx_agents.gateway.a2a.pushes import Pushes
from ngx_agents.gateway.a2a.quick import QuickCalls
from ngx_agents.gateway.a2a.reading import (
    TRAIL,
    VERSION,
    check_media_type,
    check_names,
    extensions_of,
    json_of,
    query_of,
    version_of,
)
from ngx_agents.gateway.a2a.refusals import LATER
from ngx_agents.gateway.a2a.rest_errors import retold, with_name
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.a2a.updates import Tasks
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.problems import headers_of, status_of
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.letter import Sealer

ROOT, REST, AGENTS = "/a2a", "/a2a/rest", "/a2a/agents/"
CARD = "/.well-known/agent-card.json"
PARSE_ERROR = -32700
CACHE = b"public, max-age=300"


class A2aEdge:
    """Raises ValueError for a card key that is none."""

    def __init__(self, deps: GatewayDeps, settings: A2aSettings, guard: Guard, *, since: bytes) -> None:
        tasks = Tasks(deps.journal, deps.engine, deps.clock)
        pushes = Pushes(deps.journal, Sealer(settings.secret_keys), guard)
        self.cards = Cards(deps.team, settings)
        intake = Intake(tasks, pushes, ids=deps.ids, clock=deps.clock, settings=settings)
        self.handler = TaskHandler(deps, settings, cards=self.cards, intake=intake, tasks=tasks, pushes=pushes)
        self._settings = settings
        self._since = since
        self._quick = QuickCalls(self.handler)
        contexts = CallContexts()
        self._rpc = JsonRpcDispatcher(self.handler, contexts, enable_v0_3_compat=settings.speaks_0_3)
        routes = create_rest_routes(self.handler, contexts, enable_v0_3_compat=settings.speaks_0_3)
        for route in routes:
            if isinstance(route, Mount) and isinstance(route.app, Router):
                route.app.default = _nothing_here
        older = OlderRoutes(self.handler, contexts).routes() if settings.speaks_0_3 else []
        self._rest = Router([*older, *routes], redirect_slashes=False, default=_nothing_here)

    async def show_card(self, exchange: Exchange, agent: str) -> None:
        """Raises NotFound, MethodNotAllowed."""
        if exchange.scope["method"] not in ("GET", "HEAD"):
            raise MethodNotAllowed(("GET",))
        body, etag = self.cards.encoded(agent, self._url(exchange))
        known = exchange.headers.get(b"if-none-match", b"")
        is_known = etag in [one.strip().removeprefix(b"W/") for one in known.split(b",")] or known.strip() == b"*"
        exchange.status = 304 if is_known else 200
        headers = [
            (b"content-type", b"application/json"), (b"cache-control", CACHE), (b"etag", etag), (b"vary", b"host"),
            (b"last-modified", self._since), (b"access-control-allow-origin", b"*"),
            (b"x-content-type-options", b"nosniff"), (b"x-request-id", exchange.request_id),
        ]  # fmt: skip
        if not is_known:
            headers.append((b"content-length", b"%d" % len(body)))
        await exchange.send({"type": "http.response.start", "status": exchange.status, "headers": headers})
        is_empty = is_known or exchange.scope["method"] == "HEAD"
        await exchange.send({"type": "http.response.body", "body": b"" if is_empty else body})

    async def answer_rpc(self, exchange: Exchange, body: bytes, agent: str) -> None:
        if exchange.scope["method"] != "POST":
            raise MethodNotAllowed(("POST",))
        told: Any = None
        try:
            told = json_of(body)
            check_media_type(exchange.headers.get(b"content-type"), body)
            call = self._call(exchange, body, agent)
            if isinstance(told, dict) and call.version == "1.0":
                _check_method(told.get("method"))
                check_names(told.get("params"))
        except JSONParseError as error:
            failed = {"code": PARSE_ERROR, "message": error.message, "data": build_error_details(error)}
            await exchange.reply_json({"jsonrpc": "2.0", "id": None, "error": failed})
            return
        except A2AError as error:
            await exchange.reply_json(build_error_response(_id_of(told), error))
            return
        if self._quick.takes(told, call):
            answered = await self._quick.answer(told, call)
            refusal = call.refusal
            await exchange.reply_json(answered, 200, headers_of(refusal) if isinstance(refusal, LATER) else ())
            return
        scope = _scope(exchange, call)
        send = _Watched(exchange, call, is_rest=False)
        response = await self._rpc.handle_requests(Request(scope, _Replay(body, exchange.receive)))
        await response(scope, _Replay(b"", exchange.receive), send)

    async def answer_rest(self, exchange: Exchange, body: bytes) -> None:
        is_0_3 = exchange.scope["path"].startswith(f"{REST}/v1/")
        try:
            if exchange.scope["method"] == "POST":
                check_media_type(exchange.headers.get(b"content-type"), body)
            call = self._call(exchange, body, "")
            told = json_of(body) if body else None
            if call.version == "1.0":
                check_names(told)
                check_names(query_of(exchange.scope["query_string"]))
        except A2AError as error:
            await _refuse_rest(exchange, error, is_0_3=is_0_3)
            return
        if is_0_3 and b"file" in body:
            body = with_text_files(body)
        scope = _scope(exchange, call)
        scope["path"] = exchange.scope["path"].removeprefix(REST)
        scope["root_path"] = ""
        await self._rest(scope, _Replay(body, exchange.receive), _Watched(exchange, call, is_rest=True))

    def _call(self, exchange: Exchange, body: bytes, agent: str) -> Call:
        """Raises the protocol's errors."""
        told = exchange.header(VERSION) or query_of(exchange.scope["query_string"]).get("A2A-Version")
        if not told and exchange.scope["path"].startswith(f"{REST}/v1/"):
            told = "0.3"
        return Call(
            principal=exchange.principal,
            version=version_of(told, speaks_0_3=self._settings.speaks_0_3),
            url=self._url(exchange),
            agent=agent,
            extensions=extensions_of(exchange.headers, self._settings.required_extensions),
            idempotency_key=exchange.header(b"idempotency-key"),
            size_bytes=len(body),
            trail=exchange.header(TRAIL) or "",
        )

    def _url(self, exchange: Exchange) -> str:
        if self._settings.public_url is not None:
            return self._settings.public_url.rstrip("/")
        return f"{exchange.scope.get('scheme', 'http')}://{exchange.header(b'host') or 'localhost'}"


def _check_method(method: object) -> None:
    """Names of 0.3 (`message/send`) are unknown in 1.0."""
    if isinstance(method, str) and "/" in method:
        raise MethodNotFoundError


def _id_of(told: Any) -> str | int | None:
    found = told.get("id") if isinstance(told, dict) else None
    return found if isinstance(found, str | int) and not isinstance(found, bool) else None


def _scope(exchange: Exchange, call: Call) -> Scope:
    return {**exchange.scope, SCOPE: call}


async def _refuse_rest(exchange: Exchange, error: A2AError, *, is_0_3: bool) -> None:
    payload = build_rest_error_payload(error)
    if isinstance(error, JSONParseError):
        payload["error"] |= {"code": 400, "status": "INVALID_ARGUMENT"}
    await exchange.reply_json(with_name(payload, type(error)) if is_0_3 else payload, payload["error"]["code"])


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound("there is nothing at this path")


class _Replay:
    """Gives the body that was read already, then what comes."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


class _Watched:
    """`send` that counts the answer, and tells in HTTP's own words why a turn was not let in."""

    def __init__(self, exchange: Exchange, call: Call, *, is_rest: bool) -> None:
        self._exchange = exchange
        self._call = call
        self._is_rest = is_rest
        self._held: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            refusal = self._call.refusal
            headers = list(message["headers"])
            if isinstance(refusal, LATER):
                headers.extend(headers_of(refusal))
                if self._is_rest:
                    message = {**message, "status": status_of(refusal)}
            self._exchange.status = message["status"]
            own = [(b"x-request-id", self._exchange.request_id), (b"x-content-type-options", b"nosniff")]
            message = {**message, "headers": [*headers, *own]}
            if self._is_rest and message["status"] >= HTTPStatus.BAD_REQUEST:
                self._held = message  # its length follows from its body
                return
        elif self._held is not None:
            message = await self._retold(self._held, message)
            self._held = None
        await self._exchange.send(message)

    async def _retold(self, start: Message, message: Message) -> Message:
        """Sends the beginning of an error that is told in one piece; that piece as it is to be told."""
        body = retold(message.get("body", b""), status=start["status"], is_0_3=self._call.version == "0.3")
        headers = [header for header in start["headers"] if header[0] != b"content-length"]
        await self._exchange.send({**start, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
        return {**message, "body": body}
