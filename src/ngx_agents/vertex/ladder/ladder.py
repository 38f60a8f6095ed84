"""The ladder: tries ways one after the other, within one deadline, until one answers.

Before text reached the caller a try is simply repeated or moved down. After that the request's `on_cut` decides: the
text is withdrawn (TextReset) and begun again, or the answer goes on from the very character where it broke, or the
error ends it. Usage of tries that broke is paid for and therefore counted in the reply.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import TypeVar

from msgspec.structs import replace

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ModelError, ModelProtocolError, ModelRequestError, ModelTimeout
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
from ngx_agents.vertex.dialects.embedding import EmbeddedPart
from ngx_agents.vertex.embedding import EmbedCall
from ngx_agents.vertex.ladder.descent import Descent, RetryLimits, Step
from ngx_agents.vertex.ladder.way import Way
from ngx_agents.vertex.measures import ModelMeasures

Answer = TypeVar("Answer")


class Ladder:
    """Holds limits and chance; the ways are given with each request."""

    def __init__(self, limits: RetryLimits, *, clock: Clock, rng: Rng, measures: ModelMeasures) -> None:
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._measures = measures

    async def reply(self, request: ModelRequest, ways: Sequence[Way], *, body: bytes | None = None) -> ModelReply:
        """The whole answer of the first way that gives one. Raises ModelError: the top way's last.

        `body` is the request as the top way sends it, where that is known already.
        """
        descent = self._descent(ways, urgency=request.urgency, deadline_s=request.deadline_s)
        top = ways[0]
        reply = await self._first(
            descent, lambda way, until_s: way.reply(request, until_s, body=body if way is top else None)
        )
        return reply if descent.tries == 1 else replace(reply, attempts=descent.tries)

    async def embedded(self, call: EmbedCall, ways: Sequence[Way], *, urgency: int, deadline_s: float) -> EmbeddedPart:
        """The vectors of one call, of the first way that gives them. Raises ModelError."""
        descent = self._descent(ways, urgency=urgency, deadline_s=deadline_s)
        return await self._first(descent, lambda way, until_s: way.embedded(call, urgency, until_s))

    async def events(self, request: ModelRequest, ways: Sequence[Way]) -> AsyncGenerator[StreamEvent]:
        """Like `reply`, as it arrives: TextChunk, TextReset when all before is withdrawn, one StreamEnd at the end."""
        descent = self._descent(ways, urgency=request.urgency, deadline_s=request.deadline_s)
        story = _Story(request)
        while True:
            try:
                async with aclosing(descent.way.events(story.asked, descent.until_s())) as events:
                    async for event in events:
                        yield story.tell(event, descent.tries)
                return
            except ModelError as exc:
                error = story.judged(exc)
                step = self._after(descent, error, was_heard=story.was_heard)
            if (reset := story.begin_again(error)) is not None:
                yield reset
            if step.delay_s:
                await self._clock.sleep(step.delay_s)

    async def _first(self, descent: Descent, attempt: Callable[[Way, float], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                return await attempt(descent.way, descent.until_s())
            except ModelError as exc:
                step = self._after(descent, exc, was_heard=False)
            if step.delay_s:
                await self._clock.sleep(step.delay_s)

    def _descent(self, ways: Sequence[Way], *, urgency: int, deadline_s: float) -> Descent:
        if deadline_s <= self._clock.monotonic_s():
            raise ModelTimeout("the deadline passed before the model was called")
        return Descent(
            ways, urgency=urgency, deadline_s=deadline_s, limits=self._limits, clock=self._clock, rng=self._rng
        )

    def _after(self, descent: Descent, error: ModelError, *, was_heard: bool) -> Step:
        """The next step, or raises what the caller is told."""
        failed = descent.way
        step = descent.after(error, was_heard=was_heard)
        if step is None:
            verdict = descent.verdict
            assert verdict is not None
            raise verdict
        self._measures.retried(error.code, is_same_rung=step.way is failed)
        return step


class _Story:
    """What one stream has given out, and how the next try takes it up."""

    def __init__(self, request: ModelRequest) -> None:
        self.asked = request
        self._request = request
        self._said: list[str] = []
        self._prefix = ""

    @property
    def was_heard(self) -> bool:
        return bool(self._said)

    def tell(self, event: TextChunk | StreamEnd, tries: int) -> TextChunk | StreamEnd:
        if isinstance(event, TextChunk):
            self._said.append(event.text)
            return event
        return StreamEnd(_whole(event.reply, self._prefix, tries))

    def judged(self, error: ModelError) -> ModelError:
        """What the error means for the way down. Raises it when text was given out and the request says stop."""
        if self._said and self._request.on_cut == "stop":
            raise error
        if self._prefix and isinstance(error, ModelRequestError):
            return ModelProtocolError("the model does not go on from an unfinished answer")
        return error

    def begin_again(self, error: ModelError) -> TextReset | None:
        """Prepares the next try; the event that withdraws what was given out, unless the answer goes on from it."""
        if not self._said:
            return None
        if self._request.on_cut == "continue" and not (self._prefix and isinstance(error, ModelProtocolError)):
            self._prefix = "".join(self._said)
            self.asked = _going_on(self._request, self._prefix)
            return None
        self._said.clear()
        self._prefix, self.asked = "", self._request
        return TextReset(error.code)


def _going_on(request: ModelRequest, prefix: str) -> ModelRequest:
    """The request whose answer is the rest of `prefix`: what was said stands as the model's own unfinished turn."""
    begun = Content(role="model", parts=(Text(text=prefix),))
    return replace(request, contents=(*request.contents, begun))


def _whole(reply: ModelReply, prefix: str, tries: int) -> ModelReply:
    if not prefix and tries == 1:
        return reply
    parts = reply.content.parts
    if prefix and parts and isinstance(parts[0], Text) and not parts[0].thought:
        first = Text(text=prefix + parts[0].text, signature=parts[0].signature)
        parts = (first, *parts[1:])
    elif prefix:
        parts = (Text(text=prefix), *parts)
    content = Content(role="model", parts=parts, model=reply.content.model)
    return replace(reply, content=content, attempts=tries)
