"""From a request to an answer, by the shortest honest way: kept, joined with an equal call, made, stale, local.

Only a request with a `CacheRule` is looked up, joined or kept. What is under way for an equal request is joined even
when nothing is kept. A stale answer is given at once where its class allows, while one call renews it; and after every
rung has failed, where its class allows that. The local model is asked last, and only what is simple.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial

import msgspec
from msgspec.structs import replace

from ngx_agents.errors import ModelBlocked, ModelError, ModelNotFound, ModelRequestError, ModelUnavailable
from ngx_agents.vertex.cache.answers import AnswerCache
from ngx_agents.vertex.cache.kept import Kept
from ngx_agents.vertex.cache.key import CacheKey, location_class_of
from ngx_agents.vertex.content import (
    Content,
    ModelReply,
    ModelRequest,
    StreamEnd,
    StreamEvent,
    Text,
    TextChunk,
    TextReset,
)
from ngx_agents.vertex.flight import Then
from ngx_agents.vertex.flights import Flights, manner_of
from ngx_agents.vertex.ladder.ladder import Ladder
from ngx_agents.vertex.ladder.residency import stricter
from ngx_agents.vertex.ladder.way import Way
from ngx_agents.vertex.ladder.ways import Ways
from ngx_agents.vertex.scope import CacheRule
from ngx_agents.vertex.settings import VertexSettings

FINAL = (ModelBlocked, ModelRequestError)
NO_LOCAL_TOKENS = 160  # what the small model may write: it wanders when it may write more


class Keeping(msgspec.Struct, frozen=True, kw_only=True):
    """`is_on` False: nothing is looked up or stored, but equal requests under way are still one call."""

    cache: AnswerCache
    flights: Flights
    is_on: bool


class Answering:
    """`ways` are the rungs before stale; `local` the ways to the small model, empty without one."""

    def __init__(
        self,
        ladder: Ladder,
        ways: Ways,
        local: Sequence[Way],
        *,
        keeping: Keeping,
        settings: VertexSettings,
    ) -> None:
        self._ladder = ladder
        self._ways = ways
        self._local = local
        self._cache = keeping.cache
        self._flights = keeping.flights
        self._settings = settings
        self._keeps = keeping.is_on

    def ways_for(self, request: ModelRequest) -> tuple[Way, ...]:
        """The rungs before stale, top first. Raises ModelNotFound when the residency asked for leaves none."""
        residency = stricter(self._settings.residency, request.residency)
        if residency is None:
            raise ModelNotFound("no location satisfies both the residency asked for and the configured one")
        return self._ways.for_model(request.model or self._settings.model, residency)

    async def reply(self, request: ModelRequest) -> ModelReply:
        """The whole answer. Raises ModelError."""
        ways = self.ways_for(request)
        rule = self._cache.rule_of(request)
        if request.only_kept:
            return _only(await self._kept_of(request, ways, rule))
        if rule is None:
            return await self._made(request, ways, None, None)
        body = _body(request, ways)
        key = self._key(request, ways, rule, body)
        kept = await self._kept(key)
        make = partial(self._made, request, ways, kept, body)
        if kept is not None and self._is_given(kept, key, request, make):
            return kept.reply()
        return await self._flights.reply(
            key, make, deadline_s=request.deadline_s, manner=manner_of(request), then=self._keeper(key, request)
        )

    async def events(self, request: ModelRequest) -> AsyncGenerator[StreamEvent]:
        """Like `reply`, as it arrives; a kept answer comes with the chunks it once came in."""
        ways = self.ways_for(request)
        rule = self._cache.rule_of(request)
        key = None if rule is None else self._key(request, ways, rule, _body(request, ways))
        kept = None if key is None else await self._kept(key)
        if request.only_kept:
            for event in _at_once(_only(kept)):
                yield event
            return
        make = partial(self._made, request, ways, kept, None)
        if key is not None and kept is not None and self._is_given(kept, key, request, make):
            for event in _replayed(kept):
                yield event
            return
        stream = self._flights.stream(
            key,
            partial(self._streamed, request, ways, kept),
            deadline_s=request.deadline_s,
            manner=manner_of(request),
            then=None if key is None else self._keeper(key, request),
        )
        async with aclosing(stream) as events:
            async for event in events:
                yield event

    async def _kept_of(self, request: ModelRequest, ways: Sequence[Way], rule: CacheRule | None) -> Kept | None:
        return None if rule is None else await self._kept(self._key(request, ways, rule, _body(request, ways)))

    def _is_given(
        self, kept: Kept, key: CacheKey, request: ModelRequest, make: Callable[[], Awaitable[ModelReply]]
    ) -> bool:
        """Whether the caller gets what is kept; if it is stale, a call that renews it has been started."""
        if kept.is_fresh:
            return True
        if kept.may_revalidate:
            self._flights.refresh(
                key, make, deadline_s=request.deadline_s, manner=manner_of(request), then=self._keeper(key, request)
            )
            return True
        return False

    def _key(self, request: ModelRequest, ways: Sequence[Way], rule: CacheRule, body: bytes) -> CacheKey:
        residency = stricter(self._settings.residency, request.residency) or "any"
        place = location_class_of(ways[0].rung.target.location, residency)
        return self._cache.key(body, model=ways[0].model, location_class=place, rule=rule, labels=request.labels)

    async def _kept(self, key: CacheKey) -> Kept | None:
        if not self._keeps:
            return None
        return self._cache.in_memory(key) or await self._cache.find(key)

    def _keeper(self, key: CacheKey, request: ModelRequest) -> Then | None:
        """What is to be done with a new answer."""
        if request.cache is None or not self._keeps:
            return None
        return partial(self._cache.keep, key, request.cache, request)

    async def _made(
        self, request: ModelRequest, ways: Sequence[Way], kept: Kept | None, body: bytes | None
    ) -> ModelReply:
        try:
            return await self._ladder.reply(request, ways, body=body)
        except ModelError as exc:
            if isinstance(exc, FINAL):
                raise
            if kept is not None and kept.may_serve_on_error:
                return kept.reply()
            return await self._by_local(request, exc)

    async def _streamed(
        self, request: ModelRequest, ways: Sequence[Way], kept: Kept | None
    ) -> AsyncGenerator[StreamEvent]:
        was_heard = False
        try:
            async with aclosing(self._ladder.events(request, ways)) as events:
                async for event in events:
                    was_heard = isinstance(event, TextChunk)
                    yield event
        except ModelError as exc:
            if isinstance(exc, FINAL) or (was_heard and request.on_cut == "stop"):
                raise
            instead = kept if kept is not None and kept.may_serve_on_error else None
            other = _replayed(instead) if instead else _at_once(await self._by_local(request, exc))
            if was_heard:
                yield TextReset(exc.code)
            for event in other:
                yield event

    async def _by_local(self, request: ModelRequest, error: ModelError) -> ModelReply:
        """The small model's answer; `error` is why it is asked, and what is raised when it gives none."""
        if not self._local or not request.is_simple:
            raise error
        try:
            reply = await self._ladder.reply(_for_local(request), self._local)
        except ModelError as exc:
            raise error from exc
        return replace(reply, is_degraded=True)


def _only(kept: Kept | None) -> ModelReply:
    """Raises ModelUnavailable when nothing is kept that may be given while the model cannot be asked."""
    if kept is None or not (kept.is_fresh or kept.may_serve_on_error):
        raise ModelUnavailable("only kept answers are given now, and there is none")
    return kept.reply()


def _body(request: ModelRequest, ways: Sequence[Way]) -> bytes:
    """What the top rung would send."""
    top = ways[0]
    return top.rung.target.dialect.encode(request, model=top.model, streams=False)


def _for_local(request: ModelRequest) -> ModelRequest:
    """What a small model can hold: the last words of the user, without tools and history."""
    most = min(request.max_output_tokens or NO_LOCAL_TOKENS, NO_LOCAL_TOKENS)
    last = Content(role="user", parts=(Text(text=request.contents[-1].text),))
    return ModelRequest(
        system="",
        contents=(last,),
        deadline_s=request.deadline_s,
        temperature=request.temperature,
        max_output_tokens=most,
        urgency=request.urgency,
    )


def _replayed(kept: Kept) -> Sequence[StreamEvent]:
    return (*map(TextChunk, kept.chunks), StreamEnd(kept.reply()))


def _at_once(reply: ModelReply) -> Sequence[StreamEvent]:
    return (TextChunk(reply.text), StreamEnd(reply))
