"""The emulator as an ASGI application: a real server that speaks Vertex's REST, for tests and benchmarks.

One task per request. Calls go to `CallService`, everything else is answered here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator import openai_surface, tokens, vertex_surface
from ngx_agents.vertex.emulator.control import ControlState
from ngx_agents.vertex.emulator.exchange import EXPOSITION, HTML, Exchange, Receive, Scope, Send
from ngx_agents.vertex.emulator.refusal import Refusal
from ngx_agents.vertex.emulator.service import HTML_PAGE, CallService
from ngx_agents.vertex.emulator.settings import EmulatorSettings
from ngx_agents.vertex.emulator.target import target_of

_CONTROL = ("/_control", "/_control/requests")
_NO_SUCH_HOST = b"global-aiplatform.googleapis.com"


class Emulator:
    """The application. `state` is what `/_control` shows."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.state = ControlState(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        exchange = Exchange(scope, receive, send)
        path, method = scope["path"], scope["method"]
        target = target_of(method, path)
        if path in _CONTROL:
            await self._control(exchange, method)
        elif self.state.down_until_s and self.state.is_down:
            await exchange.reset()
        elif target is not None and exchange.header(b"host") != _NO_SUCH_HOST:
            await CallService(self.settings, self.state, exchange, target).serve()
        else:
            await self._answer(exchange, method, path)

    async def _answer(self, exchange: Exchange, method: str, path: str) -> None:
        if path == "/v1/models" and method == "GET":
            await exchange.respond(200, openai_surface.models(self.state.catalog.models))
        elif path == "/metrics" and method == "GET":
            await exchange.respond(200, self.state.exposition(), content_type=EXPOSITION)
        elif tokens.is_token_path(path):
            await tokens.answer(exchange, self.state, self.settings.token_lifetime_s)
        else:
            await exchange.respond(404, HTML_PAGE, content_type=HTML)

    async def _control(self, exchange: Exchange, method: str) -> None:
        try:
            body = await exchange.body()
            if method == "POST":
                self.state.apply(body)
            elif method == "DELETE":
                self.state.reset()
        except (Refusal, msgspec.DecodeError) as exc:  # a ValidationError is a DecodeError
            refusal = exc if isinstance(exc, Refusal) else Refusal(400, str(exc))
            await exchange.respond(400, vertex_surface.error(refusal))
            return
        if exchange.scope["path"] == "/_control/requests":
            view: Any = [request.view() for request in self.state.traffic.kept]
        else:
            view = self.state.view()
        await exchange.respond(200, msgspec.json.encode(view))


def create_app(settings: EmulatorSettings) -> Any:
    """The ASGI application. Resets and cuts work under `EmulatorProtocol` only (`run` uses it)."""
    return Emulator(settings)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
