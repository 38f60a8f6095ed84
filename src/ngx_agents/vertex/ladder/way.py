"""One rung for one model, and what has been learnt about it: one try at an answer, judged.

Every try passes the breaker (is it worth asking), then the governor's lane (may one more be under way), then the wire,
and tells both what came of it, once. A 429 is the lane's business alone. A time-out counts against the other side only
when it had the time of a slow answer; our own short deadline says nothing about it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from msgspec.structs import replace

from ngx_agents.errors import (
    ModelError,
    ModelProtocolError,
    ModelThrottled,
    ModelTimeout,
    ModelUnavailable,
)
from ngx_agents.resilience.breaker import Breaker, Ticket
from ngx_agents.resilience.recent_quantile import RecentQuantile
from ngx_agents.resilience.retry_budget import RetryBudget, RetryRules
from ngx_agents.vertex.content import AnswerSource, ModelReply, ModelRequest, StreamEnd, TextChunk
from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.provider import ContextTarget
from ngx_agents.vertex.dialects.embedding import EmbeddedPart
from ngx_agents.vertex.dialects.embedding import decode as decode_embedded
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.embedding import EmbedCall
from ngx_agents.vertex.governors import Lane, Permit
from ngx_agents.vertex.ladder.rungs import Rung
from ngx_agents.vertex.ladder.stall import StallWatch
from ngx_agents.vertex.ladder.target import GENERATE
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.transport import Posted, PostStream

FIRST_TOKEN_S = (3.0, 20.0)  # least and most that is waited for the first byte of a stream
GAP_S = (2.0, 15.0)  # and from one piece to the next
SLACK = 1.5  # times what 99 of 100 needed lately
SLOW_FIRST_TOKEN_S = 8.0  # twice what a chat may take to begin


class Way:
    """`breaker` and `lane` may be shared with other ways; the retry `budget` is its own."""

    def __init__(
        self, rung: Rung, model: str, *, breaker: Breaker, lane: Lane, contexts: Contexts, measures: ModelMeasures
    ) -> None:
        self.rung = rung
        self.model = model
        self.breaker = breaker
        self.measures = measures
        self.clock = rung.target.clock
        self.budget = RetryBudget(RetryRules(), clock=self.clock)
        self.first_token = RecentQuantile(clock=self.clock)
        self.longest_gap = RecentQuantile(clock=self.clock)
        self._lane = lane
        self._contexts = contexts
        settings = rung.target.settings
        self._context_target: ContextTarget | None = None
        if settings.provider == "vertex" and settings.project is not None:
            self._context_target = ContextTarget(settings.project, settings.location, model)

    @property
    def typical_first_token_s(self) -> float:
        """What half of the answers needed to begin lately; 0 while too few are known."""
        return self.first_token.quantile(0.5) or 0.0

    async def reply(self, request: ModelRequest, until_s: float, *, body: bytes | None = None) -> ModelReply:
        """The whole answer. `body` is the request encoded, where that is known already. Raises ModelError."""
        attempt = await self._begin(request.urgency, until_s)
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
        attempt = await self._begin(urgency, until_s)
        try:
            posted = await self.rung.target.post(
                self.model, call.operation, call.body, until_s, extra=self.rung.headers
            )
            part = decode_embedded(call, posted.body)
        except BaseException as exc:
            attempt.failed(exc)
            raise
        attempt.succeeded()
        return part

    async def events(self, request: ModelRequest, until_s: float) -> AsyncGenerator[TextChunk | StreamEnd]:
        """Text as it arrives, then one StreamEnd. Raises ModelError."""
        attempt = await self._begin(request.urgency, until_s)
        try:
            reader = self.rung.target.dialect.reader(model=self.model)
            async with aclosing(self._chunks(attempt, request, until_s)) as chunks:
                async for chunk in chunks:
                    for text in reader.feed(chunk):
                        yield TextChunk(text)
            reply = self._signed(reader.finish(), request)
        except BaseException as exc:
            attempt.failed(exc)
            raise
        attempt.answered(reply)
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

    async def _chunks(self, attempt: _Attempt, request: ModelRequest, until_s: float) -> AsyncGenerator[bytes]:
        """The body as it arrives; a wait longer than this way's answers need is a ModelTimeout."""
        gap_s = _limit(self.longest_gap, GAP_S)
        watch = StallWatch()
        watch.begin(_limit(self.first_token, FIRST_TOKEN_S))
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

    async def _begin(self, urgency: int, until_s: float) -> _Attempt:
        ticket = self.breaker.admit()
        if ticket is None:
            raise ModelUnavailable(
                "the model failed often lately and is left alone for a while", retry_after_s=self.breaker.retry_after_s
            )
        try:
            permit = self._lane.try_permit(urgency) or await self._lane.permit(urgency, until_s)
        except BaseException:
            ticket.ignored()
            raise
        return _Attempt(self, ticket, permit)

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


class _Attempt:
    """One try under way: tells breaker, lane and budget what came of it, once."""

    __slots__ = ("_began_s", "_first_s", "_last_s", "_longest_gap_s", "_permit", "_ticket", "_way")

    def __init__(self, way: Way, ticket: Ticket, permit: Permit) -> None:
        self._way = way
        self._ticket = ticket
        self._permit = permit
        self._began_s = way.clock.monotonic_s()
        self._first_s: float | None = None
        self._last_s = 0.0
        self._longest_gap_s = 0.0

    def heard(self) -> None:
        """A piece of a stream arrived."""
        now_s = self._way.clock.monotonic_s()
        if self._first_s is None:
            self._first_s = now_s - self._began_s
            self._way.first_token.observe(self._first_s)
        elif now_s - self._last_s > self._longest_gap_s:
            self._longest_gap_s = now_s - self._last_s
        self._last_s = now_s

    def answered(self, reply: ModelReply) -> None:
        self._way.measures.paid(reply, model=self._way.model)
        if self._longest_gap_s:
            self._way.longest_gap.observe(self._longest_gap_s)
        self.succeeded()

    def succeeded(self) -> None:
        self._permit.answered()
        self._ticket.succeeded(slow=self._first_s is not None and self._first_s > SLOW_FIRST_TOKEN_S)
        self._way.budget.succeeded()

    def failed(self, error: BaseException) -> None:
        if isinstance(error, ModelThrottled):
            self._permit.throttled(error)
            self._ticket.ignored()
        elif self._speaks_against_it(error):
            self._permit.failed()
            self._ticket.failed()
        elif isinstance(error, ModelError):  # refused for what was asked: the other side is well
            self._permit.failed()
            self._ticket.ignored()
        else:
            self._permit.cancelled()
            self._ticket.ignored()

    def _speaks_against_it(self, error: BaseException) -> bool:
        if isinstance(error, ModelTimeout):
            since_s = self._last_s or self._began_s
            limit_s = FIRST_TOKEN_S[0] if self._first_s is None else GAP_S[0]
            return self._way.clock.monotonic_s() - since_s >= limit_s
        return isinstance(error, ModelUnavailable | ModelProtocolError)


def _limit(seen: RecentQuantile, bounds_s: tuple[float, float]) -> float:
    usual_s = seen.quantile(0.99)
    if usual_s is None:
        return bounds_s[1]
    return min(max(SLACK * usual_s, bounds_s[0]), bounds_s[1])
