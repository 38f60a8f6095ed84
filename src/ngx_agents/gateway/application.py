"""The edge as one ASGI application: finds the operation, the principal, and turns every error into an answer.

The two hot routes are found by string slicing; everything else goes through Starlette's router. This is the
supervisor of a request: what nobody expected is logged once and answered as `internal`.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Mapping, Sequence

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ngx_agents.clock import Rng
from ngx_agents.errors import Forbidden, MethodNotAllowed, NgxError, NotFound
from ngx_agents.gateway.a2a.door import A2aDoor
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.cross_origin import CrossOrigin
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange, Header
from ngx_agents.gateway.meters import Meters
from ngx_agents.gateway.openai_errors import render_openai_error
from ngx_agents.gateway.operation import Operation
from ngx_agents.gateway.operations import all_operations
from ngx_agents.gateway.peers import PREFIX as PEERS
from ngx_agents.gateway.peers import PeerRoutes
from ngx_agents.gateway.problems import status_of
from ngx_agents.gateway.reconnects import Reconnects
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.caller import CALLER, Caller
from ngx_agents.resilience.modes import Mode, ModeChange
from ngx_agents.telemetry.log import event_log

log = event_log("gateway")
EXCHANGE = "ngx.exchange"
PROBES = ("/livez", "/readyz", "/metrics")
ADMIN = "/v1/admin/"
OPENAI_PATHS = ("/v1/chat/", "/v1/models")
SUBMIT = ("POST", "/v1/conversations/{conversation_id}/turns")
EVENTS = ("GET", "/v1/turns/{turn_id}/events")


def create_app(deps: GatewayDeps, settings: GatewaySettings) -> ASGIApp:
    """The whole HTTP surface. Raises ConfigError when the settings cannot work."""
    operations = all_operations(deps, settings)
    if not settings.serves_callers:
        operations = [one for one in operations if one.path in PROBES or one.path.startswith(ADMIN)]
    return Gateway(deps, settings, operations=operations)


class Gateway:
    def __init__(self, deps: GatewayDeps, settings: GatewaySettings, *, operations: Sequence[Operation]) -> None:
        self._clock = deps.clock
        self._console = deps.console if settings.serves_callers else None
        self._cross_origin = CrossOrigin(settings.cors_origins) if settings.cors_origins else None
        self._auth = Authenticator(
            settings.auth,
            journal=deps.journal,
            clock=deps.clock,
            pages=self._cross_origin,
            uses=deps.key_uses,
            revocations=deps.controls.revocations,
        )
        self._entrance = deps.entrance
        self._meters = Meters(deps.metrics)
        self._reconnects = Reconnects(deps.metrics, Rng())
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        self._submit = by_path.get(SUBMIT[1], {}).get(SUBMIT[0])
        self._events = by_path.get(EVENTS[1], {}).get(EVENTS[0])
        routes = [Route(path, _Path(self, path, methods=methods)) for path, methods in by_path.items()]
        self._router = Router(routes, redirect_slashes=False, default=self._unknown)
        self._a2a = None if deps.a2a is None else A2aDoor(deps, deps.a2a, deps.guard, self._auth)
        self._peers = (
            None if deps.peer_signature is None else PeerRoutes(deps.engine, deps.peer_signature, load=deps.own_load)
        )
        self._announced: tuple[Header, ...] = _mode_header(deps.modes.current)
        deps.modes.on_change(self._announce)
        self._id_prefix = f"r-{secrets.token_hex(6)}-"
        self._id_numbers = itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _decline(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        exchange.identify(self._new_request_id)
        exchange.announced = self._announced
        began_s = self._clock.monotonic_s()
        try:
            await self._dispatch(exchange)
            if exchange.stream is not None:
                await exchange.stream.send_to(exchange, self._reconnects)
        except NgxError as error:
            if status_of(error) >= 500 and not error.retryable:
                log.error("gateway.failed", code=error.code, route=exchange.route, request=_text(exchange))
            await exchange.fail(error)
        except Exception:
            log.exception("gateway.failed", code="internal", route=exchange.route, request=_text(exchange))
            await exchange.fail(NgxError("an internal error; the request id finds it in the log"))
        finally:
            seconds = self._clock.monotonic_s() - began_s
            self._meters.count(exchange.route, scope["method"], status=exchange.status, seconds=seconds)

    async def perform(self, operation: Operation, exchange: Exchange) -> None:
        exchange.route = operation.path
        if not operation.is_open:
            exchange.principal = await self._auth.principal(exchange.headers, exchange.address)
            await self._entrance.greet(exchange.principal, is_for_suspended=operation.is_for_suspended)
            if operation.role is not None and operation.role not in exchange.principal.roles:
                raise Forbidden(f"this is for the role {operation.role}")
            if exchange.principal.agents is not None and not operation.is_for_scoped:
                raise Forbidden("a key for some agents alone may not do this")
            owner = exchange.principal.owner
            CALLER.set(Caller(owner.tenant, owner.user))
        await operation.handler(exchange)

    async def _dispatch(self, exchange: Exchange) -> None:
        scope = exchange.scope
        if self._cross_origin is not None and await self._cross_origin.answered(exchange):
            return
        path: str = scope["path"]
        if (
            self._submit is not None
            and path.endswith("/turns")
            and scope["method"] == "POST"
            and path.startswith("/v1/conversations/")
        ):
            scope["path_params"] = {"conversation_id": path[18:-6]}
            await self.perform(self._submit, exchange)
        elif (
            self._events is not None
            and path.endswith("/events")
            and scope["method"] == "GET"
            and path.startswith("/v1/turns/")
        ):
            scope["path_params"] = {"turn_id": path[10:-7]}
            await self.perform(self._events, exchange)
        elif self._a2a is not None and self._a2a.serves(path):
            await self._a2a.answer(exchange)
        elif self._peers is not None and path.startswith(PEERS):
            await self._peers.answer(exchange)
        else:
            if path.startswith(OPENAI_PATHS):
                exchange.render = render_openai_error
            scope[EXCHANGE] = exchange
            await self._router(scope, exchange.receive, exchange.send)

    async def _unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        if self._console is None or scope["path"].startswith("/v1/"):
            raise NotFound("there is nothing at this path")
        exchange.route = "console"
        await self._console(scope, receive, exchange.noting_status())

    def _announce(self, change: ModeChange) -> None:
        self._announced = _mode_header(change.mode)

    def _new_request_id(self) -> bytes:
        return f"{self._id_prefix}{next(self._id_numbers)}".encode()


class _Path:
    """What Starlette routes to: one path with the operations of its methods."""

    def __init__(self, gateway: Gateway, path: str, *, methods: Mapping[str, Operation]) -> None:
        self._gateway = gateway
        self._path = path
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange: Exchange = scope[EXCHANGE]
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        operation = self._methods.get(method)
        if operation is None:
            exchange.route = self._path
            raise MethodNotAllowed(tuple(sorted(self._methods)))
        await self._gateway.perform(operation, exchange)


async def _decline(scope: Scope, receive: Receive, send: Send) -> None:
    """Lifespan events pass (what the edge needs is started by its owner); web sockets are not spoken."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1003})
        return
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _mode_header(mode: Mode) -> tuple[Header, ...]:
    """Every answer says so when the mode is not normal."""
    return () if mode is Mode.NORMAL else ((b"ngx-mode", mode.label.encode()),)


def _text(exchange: Exchange) -> str:
    return exchange.request_id.decode()
