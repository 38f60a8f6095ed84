"""One rung for one model, and what has been learnt about it: one try at an answer, judged.

Every try passes the breaker (is it worth asking), the configured quota if there is one, the governor's lane (may one
more be under way), then the wire, and all of them are told what came of it, once (`attempt.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import msgspec
from msgspec.structs import replace

from ngx_agents.errors import ModelError, ModelProtocolError, ModelUnavailable
from ngx_agents.resilience.breaker import Breaker
from ngx_agents.resilience.retry_budget import RetryBudget, RetryRules
from ngx_agents.vertex.content import AnswerSource, ModelReply, ModelRequest, StreamEnd, TextChunk
from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.provider import ContextTarget
from ngx_agents.vertex.dialects.embedding import EmbeddedPart
from ngx_agents.vertex.dialects.embedding import decode as decode_embedded
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.embedding import EmbedCall
from ngx_agents.vertex.governors import Lane
from ngx_agents.vertex.ladder.attempt import Attempt, Learnt
from ngx_agents.vertex.ladder.rungs import Rung
from ngx_agents.vertex.ladder.stall import StallWatch
from ngx_agents.vertex.ladder.target import GENERATE
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.quota import Quota, QuotaGrant
from ngx_agents.vertex.sentences import Joined
from ngx_agents.vertex.transport import Posted, PostStream

BYTES_PER_TOKEN = 4
USUAL_OUTPUT_TOKENS = 512


class WaysShare(msgspec.Struct, frozen=True, kw_only=True):
    """What all ways of a client have in common."""

    contexts: Contexts
    measures: ModelMeasures


class Way:
    """`breaker` and `lane` may be shared with other ways; the retry `budget` is its own."""

    def __init__(
        self, rung: Rung, model: str, *, breaker: Breaker, lane: Lane, quota: Quota | None, shared: WaysShare
    ) -> None:
        self.rung = rung
        self.model = model
        self.breaker = breaker
        self.budget = RetryBudget(RetryRules(), clock=rung.target.clock)
        self.learnt = Learnt(model, budget=self.budget, measures=shared.measures, clock=rung.target.clock)
        self._lane = lane
        self._quota = quota
        self._contexts = shared.contexts
        settings = rung.target.settings
        self._context_target: ContextTarget | None = None
        if settings.provider == "vertex" and settings.project is not None:
            self._context_target = ContextTarget(settings.project, settings.location, model)

    @property
    def typical_first_token_s(self) -> float:
        """What half of the answers needed to begin lately; 0 while too few are known."""
        return self.learnt.first_token.quantile(0.5) or 0.0

    async def reply(self, request: ModelRequest, until_s: float, *, body: bytes | None = None) -> ModelReply:
        """The whole answer. `body` is the request encoded, where that is known already. Raises ModelError."""
        attempt = await self._begin(request.urgency, until_s, self._expected_tokens(request))
        try:
            posted = await self._posted(request, until_s, body)
            reply = self._signed(self.rung.target.dialect.decode(posted.body, model=self.model), request)
        except BaseException as exc:
            attempt.failed(exc)
            raise
        attempt.answered(reply)
        return reply

    async def embedded(self, call: EmbedCall, urgency: int, until_s: float) -> EmbeddedPart:
        """The vectors of one call. Raises ModelError."""
        attempt = await self._begin(urgency, until_s, len(call.body) / BYTES_PER_TOKEN)
        try:
            posted = await self.rung.target.post(
                self.model, call.operation, call.body, until_s, extra=self.rung.headers
            )
            part = decode_embedded(call, posted.body)
        except BaseException as exc:
            attempt.failed(exc)
            raise
        attempt.succeeded(part.input_tokens)
        return part

    async def events(self, request: ModelRequest, until_s: float) -> AsyncGenerator[TextChunk | StreamEnd]:
        """Text as it arrives, then one StreamEnd. Raises ModelError."""
        attempt = await self._begin(request.urgency, until_s, self._expected_tokens(request))
        joined = Joined() if request.by_sentence else None
        try:
            reader = self.rung.target.dialect.reader(model=self.model)
            async with aclosing(self._chunks(attempt, request, until_s)) as chunks:
                async for chunk in chunks:
                    for piece in reader.feed(chunk):
                        text = piece if joined is None else joined.feed(piece)
                        if text:
                            yield TextChunk(text)
            reply = self._signed(reader.finish(), request)
        except BaseException as exc:
            attempt.failed(exc)
            raise
        attempt.answered(reply)
        if joined is not None and (rest := joined.rest()):
            yield TextChunk(rest)
        yield StreamEnd(reply)

    async def _posted(self, request: ModelRequest, until_s: float, body: bytes | None) -> Posted:
        """The answer to the request with its prefix kept at the provider, or whole."""
        post, extra = self.rung.target.post, self.rung.headers
        kept = self._context(request)
        if kept is not None:
            try:
                shorter = self._body(request, kept, streams=False)
                return await post(self.model, GENERATE, shorter, until_s, extra=extra)
            except ModelError as exc:
                if not self._contexts.failed(kept, exc):
                    raise
        return await post(self.model, GENERATE, body or self._body(request, None, streams=False), until_s, extra=extra)

    @asynccontextmanager
    async def _begun(self, request: ModelRequest, until_s: float) -> AsyncIterator[PostStream]:
        """Like `_posted`, for a stream."""
        kept = self._context(request)
        has_begun = False
        try:
            body = self._body(request, kept, streams=True)
            async with self.rung.target.stream(self.model, body, until_s, extra=self.rung.headers) as answer:
                has_begun = True
                yield answer
                return
        except ModelError as exc:
            if has_begun or kept is None or not self._contexts.failed(kept, exc):
                raise
        body = self._body(request, None, streams=True)
        async with self.rung.target.stream(self.model, body, until_s, extra=self.rung.headers) as answer:
            yield answer

    def _context(self, request: ModelRequest) -> str | None:
        if request.prefix_scope is None or self._context_target is None:
            return None
        return self._contexts.name_for(self._contexts.prefix_of(request), request, self._context_target)

    def _body(self, request: ModelRequest, kept: str | None, *, streams: bool) -> bytes:
        dialect = self.rung.target.dialect
        if kept is not None and isinstance(dialect, VertexDialect):
            return dialect.encode(request, model=self.model, streams=streams, cached_content=kept)
        return dialect.encode(request, model=self.model, streams=streams)

    async def _chunks(self, attempt: Attempt, request: ModelRequest, until_s: float) -> AsyncGenerator[bytes]:
        """The body as it arrives; a wait longer than this way's answers need is a ModelTimeout."""
        gap_s = self.learnt.gap_limit_s
        watch = StallWatch()
        watch.begin(self.learnt.first_token_limit_s)
        try:
            async with self._begun(request, until_s) as answer:
                chunks = answer.chunks.__aiter__()
                while True:
                    chunk = await anext(chunks, None)
                    await watch.end()
                    if chunk is None:
                        return
                    attempt.heard()
                    yield chunk
                    watch.begin(gap_s)
        except asyncio.CancelledError as exc:
            watch.overdue(exc)
            raise
        finally:
            watch.close()

    def _expected_tokens(self, request: ModelRequest) -> float:
        """Input and output, as far as a configured limit needs to know."""
        if self._quota is None:
            return 0.0
        body = self._body(request, None, streams=False)
        return len(body) / BYTES_PER_TOKEN + (request.max_output_tokens or USUAL_OUTPUT_TOKENS)

    async def _begin(self, urgency: int, until_s: float, tokens: float) -> Attempt:
        ticket = self.breaker.admit()
        if ticket is None:
            raise ModelUnavailable(
                "the model failed often lately and is left alone for a while", retry_after_s=self.breaker.retry_after_s
            )
        grant: QuotaGrant | None = None
        try:
            if self._quota is not None:
                grant = await self._quota.reserve(tokens, urgency=urgency, deadline_s=until_s)
            permit = self._lane.try_permit(urgency) or await self._lane.permit(urgency, until_s)
        except BaseException:
            ticket.ignored()
            if grant is not None:
                grant.give_back()
            raise
        return Attempt(self.learnt, ticket, permit, grant)

    def _signed(self, reply: ModelReply, request: ModelRequest) -> ModelReply:
        """With where it came from. Raises ModelProtocolError for an answer that says nothing and continues nothing."""
        if reply.finish_reason == "malformed_call":
            raise ModelProtocolError("the model's tool call cannot be read")
        if reply.finish_reason == "stop" and reply.is_empty and request.contents[-1].role != "model":
            raise ModelProtocolError("the model's answer is empty")
        source: AnswerSource = "local" if self.rung.name == "local" else "model"
        if reply.source == source and reply.rung == self.rung.name:
            return reply
        return replace(reply, source=source, rung=self.rung.name, is_degraded=self.rung.name == "sibling")
