"""One call of a model or a cache, from the first byte read to the last byte sent.

The order is the service's: body, fault, credentials, reading and checking, capacity, the wait for the first byte, the
answer. One task serves a call; what calls share (`ControlState`) is only touched between awaits. A refusal anywhere is
written once, by `serve`, in the words of the surface.
"""

from __future__ import annotations

import zlib
from typing import Any, cast

import msgspec

from ngx_agents.vertex.emulator import cache_calls, embedding_calls, fields, tokens, vertex_reader, vertex_surface
from ngx_agents.vertex.emulator.answers import Draw, compose
from ngx_agents.vertex.emulator.control import ControlState
from ngx_agents.vertex.emulator.exchange import ALT_SVC, HTML, JSON, Exchange, Header
from ngx_agents.vertex.emulator.faults import Fault
from ngx_agents.vertex.emulator.playback import Playback, refusal_of, spoil
from ngx_agents.vertex.emulator.pools import Grant, Tier
from ngx_agents.vertex.emulator.prompt import Answer, Call, Prompt
from ngx_agents.vertex.emulator.refusal import Refusal, named
from ngx_agents.vertex.emulator.settings import EmulatorSettings
from ngx_agents.vertex.emulator.target import Target
from ngx_agents.vertex.emulator.tool_choice import choose
from ngx_agents.vertex.emulator.traffic import Received, Tally, Traffic
from ngx_agents.vertex.emulator.writers import OpenAICall, Surface, VertexErrors, vertex_call

HTML_PAGE = (
    b"<!DOCTYPE html><html lang=en><title>Error 404 (Not Found)!!1</title>"
    b"<p><b>404.</b> <ins>That\xe2\x80\x99s an error.</ins></html>"
)
_OPENAI = ("chatCompletions", "embeddings")
_GENERATING = ("generateContent", "streamGenerateContent", "chatCompletions")
_TIERS: dict[bytes, Tier] = {b"dedicated": "dedicated", b"shared": "shared"}
_SHARED_TIERS: dict[bytes, Tier] = {b"priority": "priority", b"flex": "flex"}


class _Ended(Exception):
    """The exchange is over: answered, reset, or left by the client."""


class CallService:
    """Serves calls of one emulator; made anew for each, because a call keeps the state it began with."""

    def __init__(self, settings: EmulatorSettings, state: ControlState, exchange: Exchange, target: Target) -> None:
        self._settings = settings
        self._state = state
        self._traffic: Traffic = state.traffic
        self._exchange = exchange
        self._target = target
        self._fault: Fault | None = None
        self._surface: Surface | VertexErrors = self._surface_of(target)
        self._tally: Tally | None = None

    async def serve(self) -> None:
        try:
            body = await self._exchange.body(self._settings.body_limit_bytes)
        except Refusal as refusal:
            self._receive(b"")
            await self._say(refusal)
            self._traffic.leave()
            return
        if self._target.operation in _OPENAI:
            self._target = msgspec.structs.replace(self._target, model=_model_in(body))
        self._receive(body)
        try:
            await self._serve(body)
        except Refusal as refusal:
            await self._say(refusal)
        except _Ended:
            pass
        finally:
            self._traffic.leave()

    async def _serve(self, body: bytes) -> None:
        state, target = self._state, self._target
        if state.script.faults:
            self._fault = state.script.draw(target)
            if self._fault is not None:
                await self._refuse(self._fault)
        if self._settings.require_auth:
            self._authorise()
        if target.operation in _GENERATING:
            await self._generate(cast("Surface", self._surface), body)
        else:
            await self._answer_plainly(body)

    async def _generate(self, surface: Surface, body: bytes) -> None:
        state = self._state
        prompt = surface.read(fields.parse(body), state.catalog, state.caches)
        digest = zlib.crc32(_without_last(body) if prompt.begun else body, self._settings.seed)
        grant = self._admit(prompt.tokens, prompt.max_output_tokens, prompt.tier)
        used = prompt.tokens
        try:
            answer = self._compose(prompt, digest, grant.traffic, streams=surface.streams)
            used += answer.output_tokens + answer.thought_tokens
            await self._wait_for_first_byte(streams=surface.streams)
            self._count(answer)
            await self._send(surface, answer)
        finally:
            grant.release(used)

    async def _send(self, surface: Surface, answer: Answer) -> None:
        if not surface.streams:
            await self._respond(surface.reply(answer))
            return
        frames = surface.frames(answer)
        if self._fault is not None and self._fault.kind == "truncated":
            frames[-1] = frames[-1][: len(frames[-1]) // 2]
        latency, rng, traffic = self._state.latency, self._state.rng, self._traffic
        gap_s = (lambda: latency.gap_s(rng) * latency.crowding(traffic.streams_open)) if latency.chunk_gap_ms else None
        traffic.open_stream()
        end = "left"
        try:
            end = await Playback(self._exchange, surface, self._fault, self._target).play(frames, gap_s)
        finally:
            traffic.close_stream(end)

    async def _answer_plainly(self, body: bytes) -> None:
        """Calls that generate nothing: counting, embedding, and the life of caches."""
        target = self._target
        doc = fields.parse(body) if body else {}
        answer, prompt_tokens = self._plain(doc)
        grant = self._admit(prompt_tokens, 0, "") if not target.operation.startswith("cachedContents") else None
        try:
            await self._wait_for_first_byte(streams=False)
            assert self._tally is not None
            self._tally.answered += 1
            self._tally.tokens.prompt += prompt_tokens
            await self._respond(answer)
        finally:
            if grant is not None:
                grant.release(prompt_tokens)

    def _plain(self, doc: dict[str, Any]) -> tuple[bytes, int]:
        state, target = self._state, self._target
        if target.operation.startswith("cachedContents"):
            query = self._exchange.scope.get("query_string", b"")
            return cache_calls.answer(target, doc, query, state.caches, state.catalog)
        if target.operation == "embeddings":
            return embedding_calls.openai_embeddings(doc)
        model = state.catalog.find(target)
        if target.operation == "countTokens":
            details, characters = vertex_reader.read_count(doc, model)
            return vertex_surface.counted(details, characters), 0
        if not model.dimensions:
            raise Refusal(400, f"{target.model} is not supported for {target.operation}.")
        embedders = {
            "embedContent": embedding_calls.embed_content,
            "batchEmbedContents": embedding_calls.batch_embed,
            "predict": embedding_calls.predict,
        }
        return embedders[target.operation](doc, model)

    def _compose(self, prompt: Prompt, digest: int, traffic: str, *, streams: bool) -> Answer:
        fault = self._fault
        if fault is not None and fault.kind == "force_call":
            name = fault.name or (prompt.tools[0].name if prompt.tools else "unknown")
            calls: tuple[Call, ...] = (Call(name, fault.arguments),)
        else:
            calls = choose(prompt) if prompt.tools else ()
        chunks = self._state.latency.chunks
        draw = Draw(digest=digest, number=self._traffic.calls, chunks=chunks, is_split=streams and chunks > 1)
        return spoil(compose(prompt, calls, draw, traffic=traffic), fault)

    def _admit(self, prompt_tokens: int, output_bound: int | None, service_tier: str) -> Grant:
        asked = self._exchange.headers_with(b"x-vertex-ai-llm-")
        tier: Tier = _TIERS.get(asked.get(b"request-type", b""), "") if asked else ""
        if tier != "dedicated" and (asked or service_tier):
            wish = asked.get(b"shared-request-type", service_tier.encode()).lower()
            tier = _SHARED_TIERS.get(wish, tier)
        grant = self._state.capacity.admit(self._target, tier, prompt_tokens, output_bound)
        assert self._tally is not None
        self._tally.traffic[grant.traffic] = self._tally.traffic.get(grant.traffic, 0) + 1
        return grant

    async def _wait_for_first_byte(self, *, streams: bool) -> None:
        """Raises _Ended when the client leaves meanwhile, Refusal when its own timeout is shorter."""
        latency = self._state.latency
        delay_s = latency.ttft_s(self._state.rng) * latency.crowding(self._traffic.streams_open)
        if self._fault is not None and self._fault.kind == "stall_first":
            delay_s += self._fault.delay_ms / 1000
        if delay_s <= 0:
            return
        bound = self._exchange.header(b"x-server-timeout")
        bound_s = float(bound) if bound is not None and bound.isdigit() else delay_s
        if not await self._exchange.wait(min(delay_s, bound_s)):
            self._traffic.streams["left"] += streams
            raise _Ended
        if delay_s > bound_s:
            raise named("deadline")

    async def _respond(self, body: bytes) -> None:
        """Answers a unary call, or half of it where a fault says so."""
        kind = self._fault.kind if self._fault is not None else ""
        if kind in ("cut", "reset_in_stream"):
            await self._exchange.start_body(len(body))
            await self._exchange.write(body[: len(body) // 2])
            await (self._exchange.reset() if kind == "reset_in_stream" else self._exchange.cut())
            return
        await self._exchange.respond(200, body[: len(body) // 2] if kind == "truncated" else body)

    async def _refuse(self, fault: Fault) -> None:
        """Raises _Ended or Refusal where the fault ends the call before it is read."""
        if fault.kind == "reset":
            self._refused(0)
            await self._exchange.reset()
            raise _Ended
        if fault.kind == "html":
            self._refused(fault.status or 404)
            await self._exchange.respond(fault.status or 404, HTML_PAGE, content_type=HTML)
            raise _Ended
        if fault.kind in ("status", "refusal"):
            raise refusal_of(fault, self._target)

    async def _say(self, refusal: Refusal) -> None:
        self._refused(refusal.status)
        fault = self._fault
        extra: tuple[Header, ...] = (ALT_SVC,)
        content_type = JSON
        if fault is not None and fault.retry_after_s is not None:
            extra = (ALT_SVC, (b"retry-after", f"{fault.retry_after_s:g}".encode()))
        if fault is not None and fault.content_type is not None:
            content_type = (b"content-type", fault.content_type.encode("latin-1"))
        body = self._surface.error(refusal)
        await self._exchange.respond(refusal.status, body, content_type=content_type, extra=extra)

    def _authorise(self) -> None:
        if self._target.operation not in _OPENAI:
            tokens.check(self._exchange, self._state, self._target)
        elif not self._exchange.header(b"authorization"):
            raise Refusal(401)

    def _surface_of(self, target: Target) -> Surface | VertexErrors:
        if target.operation in _OPENAI:
            return OpenAICall()
        if target.operation in _GENERATING:
            return vertex_call(target, b"alt=sse" in self._exchange.scope.get("query_string", b""))
        return VertexErrors(target)

    def _receive(self, body: bytes) -> None:
        scope = self._exchange.scope
        request = Received(self._target.operation, scope["path"], scope["headers"], body)
        self._tally = self._traffic.receive(self._target, request)

    def _refused(self, status: int) -> None:
        """Counts a refusal; status 0 is a connection that was reset."""
        assert self._tally is not None
        refused = self._tally.refused
        refused[str(status)] = refused.get(str(status), 0) + 1

    def _count(self, answer: Answer) -> None:
        assert self._tally is not None
        self._tally.answered += 1
        used = self._tally.tokens
        used.prompt += answer.prompt_tokens
        if answer.cached:
            used.cached += sum(answer.cached.values())
        used.output += answer.output_tokens
        used.thought += answer.thought_tokens


def _model_in(body: bytes) -> str:
    """The model that an OpenAI-compatible body names; empty when it names none."""
    try:
        return str(msgspec.json.decode(body, type=_Named).model)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


class _Named(msgspec.Struct):
    model: str = ""


def _without_last(body: bytes) -> bytes:
    """The body whose answer was begun: a compact one, without its last content, gives the bytes it once was."""
    doc = fields.parse(body)
    return msgspec.json.encode({**doc, "contents": doc["contents"][:-1]})
