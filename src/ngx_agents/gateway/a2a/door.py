"""The way to the protocol's edge: what is asked under `/a2a` or for a card. Loads the SDK with the first request.

Authentication and the bound on bodies are here; what is left is the edge's. Without the extra `a2a` every request is
told so.
"""

from __future__ import annotations

import asyncio
import logging
import os
from email.utils import formatdate
from typing import TYPE_CHECKING

import msgspec

from ngx_agents.errors import NgxError, NotFound, Unavailable
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.problems import Problem
from ngx_agents.gateway.uploads import UploadPlaces
from ngx_agents.resilience.caller import CALLER, Caller
from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.outbox.guard import Guard

if TYPE_CHECKING:
    from ngx_agents.gateway.a2a.edge import A2aEdge

log = event_log("a2a")
WELL_KNOWN = ("/.well-known/agent-card.json", "/.well-known/agent.json")
ROOT, REST, AGENTS = "/a2a", "/a2a/rest/", "/a2a/agents/"
NOT_INSTALLED = "the A2A protocol needs the extra a2a: install ngx-agents[a2a]"
_STATUS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
           413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}  # fmt: skip


class A2aDoor:
    def __init__(self, deps: GatewayDeps, settings: A2aSettings, guard: Guard, auth: Authenticator) -> None:
        self._deps = deps
        self._settings = settings
        self._guard = guard
        self._auth = auth
        self._since = formatdate(deps.clock.now_s(), usegmt=True).encode()
        self._loading = asyncio.Lock()
        self._edge: A2aEdge | None = None
        self._uploads = UploadPlaces()

    @staticmethod
    def serves(path: str) -> bool:
        return (path.startswith(ROOT) and path[4:5] in ("", "/")) or path in WELL_KNOWN

    async def edge(self) -> A2aEdge:
        """Raises Unavailable without the extra, NgxError for a card key that is none."""
        async with self._loading:
            if self._edge is None:
                self._edge = await asyncio.to_thread(self._load)
        return self._edge

    async def greet(self, principal: Principal) -> None:
        """Any request of a user, before it is looked at. Raises Forbidden (suspended), RateLimited."""
        await self._deps.entrance.greet(principal)
        CALLER.set(Caller(principal.owner.tenant, principal.owner.user))

    async def answer(self, exchange: Exchange) -> None:
        """Raises what authentication raises, NotFound, BodyTooLarge, Unavailable, InvalidRequest (a body too slow)."""
        exchange.render = render_status
        path: str = exchange.scope["path"]
        agent, is_card = _card_of(path)
        if is_card:
            exchange.route = WELL_KNOWN[0]
            await (await self.edge()).show_card(exchange, agent)
            return
        exchange.route = ROOT
        exchange.principal = await self._auth.principal(exchange.headers, exchange.address)
        await self.greet(exchange.principal)
        edge = self._edge or await self.edge()
        if exchange.declared_bytes() <= self._settings.max_body_bytes:
            await self._serve(edge, exchange, path, await exchange.raw_body(self._settings.max_body_bytes))
            return
        async with self._uploads.place(exchange.principal.owner):  # a large one has files; held until it is answered
            await self._serve(
                edge, exchange, path, await self._uploads.body(exchange, self._settings.max_file_body_bytes)
            )

    async def _serve(self, edge: A2aEdge, exchange: Exchange, path: str, body: bytes) -> None:
        if path in (ROOT, f"{ROOT}/"):
            await edge.answer_rpc(exchange, body, "")
        elif path.startswith(REST):
            exchange.route = REST
            await edge.answer_rest(exchange, body)
        elif path.startswith(AGENTS) and "/" not in (agent := path.removeprefix(AGENTS).rstrip("/")):
            await edge.answer_rpc(exchange, body, agent)
        else:
            raise NotFound("there is nothing at this path")

    def _load(self) -> A2aEdge:
        os.environ.setdefault("OTEL_INSTRUMENTATION_A2A_SDK_ENABLED", "false")
        try:
            from ngx_agents.gateway.a2a.edge import A2aEdge
        except ImportError as error:
            raise Unavailable(NOT_INSTALLED, retry_after_s=3600.0) from error
        quiet = logging.getLogger("a2a")
        quiet.setLevel(logging.CRITICAL)  # it logs what callers wrote; what goes wrong is logged by us
        try:
            return A2aEdge(self._deps, self._settings, self._guard, since=self._since)
        except ValueError as error:
            raise NgxError("the key that signs agent cards cannot be used") from error


def _card_of(path: str) -> tuple[str, bool]:
    """The agent path whose card is asked for, and whether one is."""
    for name in WELL_KNOWN:
        if path in (name, ROOT + name):
            return "", True
        if path.startswith(AGENTS) and path.endswith(name):
            return path.removeprefix(AGENTS).removesuffix(name), True
    return "", False


def render_status(problem: Problem) -> tuple[bytes, bytes]:
    """An error before any binding is chosen, in the shape of `google.rpc.Status`."""
    status = _STATUS.get(problem.status, "INTERNAL")
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": problem.code.upper(),
        "domain": "a2a-protocol.org",
        "metadata": {},
    }
    error = {"code": problem.status, "status": status, "message": problem.detail, "details": [detail]}
    return b"application/json", msgspec.json.encode({"error": error})
