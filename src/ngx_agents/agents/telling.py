"""A model's answer on its way to the user, through the sentence gate: streamed, or whole when nobody reads along.

When the stream breaks and the model begins again, what was shown of this call is withdrawn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ngx_agents.agents.answer_screen import SentenceGate
from ngx_agents.agents.brief import Work
from ngx_agents.agents.spending import Grant, Purse
from ngx_agents.agents.turn import TextDelta, TextReset
from ngx_agents.errors import ModelBlocked, ModelProtocolError
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import ModelReply, ModelRequest, StreamEnd, StreamEvent
from ngx_agents.vertex.content import TextReset as Withdrawn


class Telling:
    """One answer, of one or more calls, each accounted in `work`. `reply` is that of the last finished call.

    `purse` pays for the calls; without one nothing is counted.
    """

    def __init__(
        self, model: VertexAIClient, gate: SentenceGate, work: Work, *, is_streamed: bool, purse: Purse | None = None
    ) -> None:
        self._model = model
        self._purse = purse
        self._is_streamed = is_streamed
        self._gate = gate
        self._work = work
        self._reply: ModelReply | None = None
        self._grant: Grant | None = None
        self._has_begun = False

    @property
    def reply(self) -> ModelReply:
        assert self._reply is not None, "read only after texts() has ended"
        return self._reply

    async def events(self, request: ModelRequest) -> AsyncGenerator[TextDelta | TextReset]:
        """What may be shown, as it becomes so; everything, once the call has ended. Raises ModelError."""
        self._reply = None
        before = self._work.text
        request = await self._paid(request)
        try:
            if self._is_streamed:
                async with aclosing(self._model.stream(request)) as events:
                    async for event in events:
                        for each in self._heard(event, before):
                            yield each
            else:
                self._reply = await self._model.generate(request)
                if shown := self._gate.feed(self._reply.text):
                    yield self._work.say(shown)
            if rest := self._gate.finish():
                yield self._work.say(rest)
        finally:
            if self._grant is not None:
                self._grant.settle(self._reply, is_begun=self._has_begun)
        self._work.account(self.reply)
        _check(self.reply)

    async def _paid(self, request: ModelRequest) -> ModelRequest:
        """The request as it may be sent. Raises SpendingStopped."""
        self._has_begun = False
        if self._purse is None:
            return request
        self._grant = await self._purse.reserve(self._work.agent, request)
        self._work.degraded = self._work.degraded or self._grant.is_degraded
        return self._grant.request

    def _heard(self, event: StreamEvent, before: str) -> Sequence[TextDelta | TextReset]:
        if isinstance(event, StreamEnd):
            self._reply = event.reply
            return ()
        self._has_begun = True
        if self._grant is not None:
            self._grant.refuse_stopped()
        if isinstance(event, Withdrawn):
            self._gate.discard()
            return self._work.withdraw(event.reason, before)
        shown = self._gate.feed(event.text)
        return (self._work.say(shown),) if shown else ()


def _check(reply: ModelReply) -> None:
    """Raises what a finished but unusable reply amounts to."""
    if reply.finish_reason == "safety":
        raise ModelBlocked("the model's safety filter ended the answer")
    if reply.finish_reason == "malformed_call":
        raise ModelProtocolError("the model's tool call cannot be read")
