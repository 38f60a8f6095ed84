"""The emulator as an ASGI application: a real server that speaks Vertex's REST, for tests and benchmarks.

One task per request; the state they share (`ControlState`) is only touched between awaits.
"""

from __future__ import annotations

import zlib
from typing import Any

import msgspec

from ngx_agents.clock import Rng
from ngx_agents.vertex.emulator import openai_surface, tokens, vertex_surface
from ngx_agents.vertex.emulator.answers import compose_calls, compose_text
from ngx_agents.vertex.emulator.control import ControlState
from ngx_agents.vertex.emulator.exchange import HTML, Exchange, Header, Receive, Scope, Send
from ngx_agents.vertex.emulator.faults import Fault
from ngx_agents.vertex.emulator.playback import Playback, spoil
from ngx_agents.vertex.emulator.prompt import Answer, BadRequestError, Call, Prompt
from ngx_agents.vertex.emulator.routes import surface_of
from ngx_agents.vertex.emulator.settings import EmulatorSettings
from ngx_agents.vertex.emulator.tool_choice import choose
from ngx_agents.vertex.emulator.writers import OpenAICall, Surface, parse_body

MODELS = ("gemini-3.8-flash", "gemini-3.5-flash", "gemini-3.1-pro-preview")
_HTML_PAGE = (
    b"<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>"
    b"<p><b>404.</b> <ins>That\xe2\x80\x99s an error.</ins></html>"
)


class Emulator:
    """The application. `state` is what `/_control` shows."""

    def __init__(self, settings: EmulatorSettings) -> None:
        self.settings = settings
        self.state = ControlState(settings.seed)
        self._rng = Rng(settings.seed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        exchange = Exchange(scope, receive, send)
        path, method = scope["path"], scope["method"]
        surface = surface_of(path, scope.get("query_string", b"")) if method == "POST" else None
        if surface is not None:
            await self._model_call(exchange, surface)
        elif path == "/_control":
            await self._control(exchange, method)
        elif path == "/v1/models" and method == "GET":
            await exchange.respond(200, openai_surface.models(MODELS))
        elif tokens.is_token_path(path):
            await tokens.answer(exchange, self.state, self.settings.token_lifetime_s)
        else:
            await exchange.respond(404, _HTML_PAGE, content_type=HTML)

    async def _model_call(self, exchange: Exchange, surface: Surface) -> None:
        body = await exchange.body()
        self._remember(exchange, body)
        fault = self.state.script.draw()
        if fault is not None and await self._refuse(exchange, surface, fault):
            return
        if self.settings.require_auth and not self._is_allowed(exchange, surface):
            await exchange.respond(401, surface.error(401, None))
            return
        try:
            prompt = surface.read(parse_body(body))
        except (BadRequestError, ValueError, AttributeError, TypeError) as exc:
            message = str(exc) if isinstance(exc, BadRequestError) else "Invalid JSON payload received."
            await exchange.respond(400, surface.error(400, message))
            return
        prompt = msgspec.structs.replace(prompt, digest=zlib.crc32(body, self.settings.seed))
        await self._answer(
            exchange, surface, spoil(self._compose(prompt, fault, streams=surface.streams), fault), fault
        )

    async def _answer(self, exchange: Exchange, surface: Surface, answer: Answer, fault: Fault | None) -> None:
        delay_s = self._jittered(self.settings.ttft_ms) / 1000
        if fault is not None and fault.kind == "stall_first":
            delay_s += fault.delay_ms / 1000
        if delay_s > 0 and not await exchange.wait(delay_s):
            self.state.streams_left += surface.streams
            return
        if surface.streams:
            await self._stream(exchange, surface, answer, fault)
            return
        body = surface.reply(answer)
        if fault is not None and fault.kind == "truncated":
            body = body[: len(body) // 2]
        await exchange.respond(200, body)

    async def _stream(self, exchange: Exchange, surface: Surface, answer: Answer, fault: Fault | None) -> None:
        gap_s = self._jittered(self.settings.chunk_gap_ms) / 1000
        frames = surface.frames(answer)
        if fault is not None and fault.kind == "truncated":
            frames[-1] = frames[-1][: len(frames[-1]) // 2]
        self.state.streams_open += 1
        try:
            stayed = await Playback(exchange, surface, fault, gap_s).play(frames)
        finally:
            self.state.streams_open -= 1
        if not stayed:
            self.state.streams_left += 1

    def _compose(self, prompt: Prompt, fault: Fault | None, *, streams: bool) -> Answer:
        number = self.state.calls
        if fault is not None and fault.kind == "force_call":
            name = fault.name or (prompt.tools[0].name if prompt.tools else "unknown")
            return compose_calls(prompt, (Call(name, fault.arguments),), number=number)
        if calls := choose(prompt):
            return compose_calls(prompt, calls, number=number)
        return compose_text(prompt, self.settings.chunks, is_split=streams, number=number)

    async def _refuse(self, exchange: Exchange, surface: Surface, fault: Fault) -> bool:
        """Whether the fault ended the call before it was read."""
        if fault.kind == "reset":
            await exchange.reset()
        elif fault.kind == "html":
            await exchange.respond(fault.status or 404, _HTML_PAGE, content_type=HTML)
        elif fault.kind == "status":
            status = fault.status or 503
            extra: tuple[Header, ...] = ()
            if fault.retry_after_s is not None:
                extra = ((b"retry-after", f"{fault.retry_after_s:g}".encode()),)
            await exchange.respond(status, surface.error(status, fault.message), extra=extra)
        else:
            return False
        return True

    def _is_allowed(self, exchange: Exchange, surface: Surface) -> bool:
        if isinstance(surface, OpenAICall):
            return bool(exchange.header(b"authorization"))
        return tokens.is_known(exchange, self.state)

    def _remember(self, exchange: Exchange, body: bytes) -> None:
        state = self.state
        state.calls += 1
        state.last_path = exchange.scope["path"]
        state.last_body = body
        state.last_headers = exchange.scope["headers"]

    def _jittered(self, delay_ms: float) -> float:
        spread = self.settings.jitter
        return delay_ms * self._rng.uniform(1 - spread, 1 + spread) if spread and delay_ms else delay_ms

    async def _control(self, exchange: Exchange, method: str) -> None:
        body = await exchange.body()
        if method == "POST":
            try:
                self.state.apply(body)
            except (msgspec.ValidationError, msgspec.DecodeError) as exc:
                await exchange.respond(400, vertex_surface.error(400, str(exc)))
                return
        elif method == "DELETE":
            self.state.reset()
            self._rng = Rng(self.settings.seed)
        await exchange.respond(200, msgspec.json.encode(self.state.view()))


def create_app(settings: EmulatorSettings) -> Any:
    """The ASGI application. Resets and cuts work under `EmulatorProtocol` only (`run` uses it)."""
    return Emulator(settings)


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
