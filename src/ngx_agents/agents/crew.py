"""Runs the chosen agents: one whose stream is the answer, or several in parallel whose answers become one.

Specialists that run in parallel live in one TaskGroup of the turn and end with it; each finished one is
checkpointed, so a turn that is taken over keeps it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

import msgspec

from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.closing import Closing, unseen
from ngx_agents.agents.loader import ORCHESTRATOR
from ngx_agents.agents.synthesis import Synthesis
from ngx_agents.agents.turn import (
    AgentCompleted,
    AgentEvent,
    AgentStarted,
    Answered,
    ArtifactMade,
    TextDelta,
    TextReset,
)
from ngx_agents.errors import ModelError, ModelProtocolError
from ngx_agents.telemetry.log import event_log
from ngx_agents.vertex.content import Usage

_log = event_log("agents")
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Work).decode


class Answering(Protocol):
    """A specialist of the team, or an agent elsewhere."""

    def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        """Deltas, resets and artifacts; `work` is complete when they end. Raises LeaseLost."""
        ...


class Crew:
    """All specialists, asked over the bus, and the orchestrator's synthesis."""

    def __init__(
        self,
        specialists: Mapping[str, Answering],
        synthesis: Synthesis,
        *,
        closing: Closing,
    ) -> None:
        self._specialists = specialists
        self._synthesis = synthesis
        self._closing = closing

    def run(self, brief: Brief, agents: Sequence[str], *, spent: Usage | None = None) -> AsyncGenerator[AgentEvent]:
        """The events of the whole answer. `spent` is what choosing the agents cost."""
        agents = brief.economy.of_agents(agents)
        if len(agents) == 1:
            return self._single(brief, agents[0], spent or Usage())
        return self._several(brief, agents, spent or Usage())

    def direct(self, brief: Brief) -> Direct:
        return Direct(self, brief)

    async def _single(self, brief: Brief, agent: str, spent: Usage) -> AsyncGenerator[AgentEvent]:
        work = Work(agent=agent, usage=spent, degraded=brief.economy.is_on)
        yield AgentStarted(agent)
        async with aclosing(self._specialists[agent].answer(brief, work)) as events:
            async for event in events:
                yield event
        for delta in self._closed(brief, work):
            yield delta
        yield AgentCompleted(agent)
        yield self.answered(work, (agent,))

    async def _several(self, brief: Brief, agents: Sequence[str], spent: Usage) -> AsyncGenerator[AgentEvent]:
        for agent in agents:
            yield AgentStarted(agent)
        parts = await self._parallel(brief, agents)
        work = Work(agent=ORCHESTRATOR, usage=spent, degraded=brief.economy.is_on)
        for part in parts:
            _take_in(part, work)
            for artifact in part.artifacts:
                yield ArtifactMade(artifact)
            yield AgentCompleted(part.agent)
        yield AgentStarted(ORCHESTRATOR)
        async with aclosing(self._merged(brief, parts, work)) as events:
            async for event in events:
                yield event
        for delta in self._closed(brief, work):
            yield delta
        yield AgentCompleted(ORCHESTRATOR)
        yield self.answered(work, tuple(agents))

    async def _merged(self, brief: Brief, parts: Sequence[Work], work: Work) -> AsyncGenerator[AgentEvent]:
        # where no part is our model's, the model is absent or down: no use in asking it again
        if any(part.by_model and part.source != "remote" for part in parts):
            try:
                async with aclosing(self._synthesis.merged(brief, parts, work)) as events:
                    async for event in events:
                        yield event
                if not work.text.strip():
                    raise ModelProtocolError("the synthesis has no text")
                work.by_model = True
                return
            except ModelError as exc:
                _log.warning("synthesis.model_failed", code=exc.code)
                work.degraded = True
                if work.text:
                    work.text = ""
                    yield TextReset("model_failed")
        for piece in self._synthesis.joined(brief, parts, work.constraints):
            yield work.say(piece)
        work.by_model = all(part.by_model for part in parts)

    async def _parallel(self, brief: Brief, agents: Sequence[str]) -> list[Work]:
        try:
            async with asyncio.TaskGroup() as tasks:
                running = [tasks.create_task(self._part(brief, agent)) for agent in agents]
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        return [task.result() for task in running]

    async def _part(self, brief: Brief, agent: str) -> Work:
        key = f"agent:{agent}"
        known = brief.desk.recall(key)
        if known is not None:
            return _decode(known)
        work = Work(agent=agent)
        unseen = msgspec.structs.replace(brief, is_streamed=False)
        async with aclosing(self._specialists[agent].answer(unseen, work)) as events:
            async for _ in events:
                pass
        await brief.desk.checkpoint(key, _encode(work))
        return work

    def _closed(self, brief: Brief, work: Work) -> Sequence[TextDelta]:
        """Adds to the answer what it must not leave out."""
        closing = self._closing.of(
            work.text, constraints=work.constraints, cautions=brief.cautions, language=brief.language
        )
        if brief.task.attachments and not work.has_looked:
            closing = unseen(brief.language) + closing
        return (work.say(closing),) if closing else ()

    def answered(self, work: Work, agents: tuple[str, ...]) -> Answered:
        return Answered(
            text=work.text,
            source=work.source if work.by_model else "template",
            rung=work.rung if work.by_model else "template",
            agents=agents,
            usage=work.usage,
            model=work.model if work.by_model else None,
            location=work.location if work.by_model else None,
            degraded=work.degraded,
        )


class Direct:
    """The orchestrator's own try at a message no intent claims: an answer, or the agents it wants called.

    After `events` has ended: `is_answered`, else `agents` (perhaps none), `spent`, and `has_failed` when the model
    could not be reached at all.
    """

    def __init__(self, crew: Crew, brief: Brief) -> None:
        self.agents: tuple[str, ...] = ()
        self.is_answered = False
        self.has_failed = False
        self._crew = crew
        self._brief = brief
        self._work = Work(agent=ORCHESTRATOR, degraded=brief.economy.is_on)

    @property
    def spent(self) -> Usage:
        return self._work.usage

    async def events(self) -> AsyncGenerator[AgentEvent]:
        crew, work, called = self._crew, self._work, list[str]()
        yield AgentStarted(ORCHESTRATOR)
        try:
            async with aclosing(crew._synthesis.direct(self._brief, work, called)) as events:
                async for event in events:
                    yield event
        except ModelError as exc:
            _log.warning("orchestrator.model_failed", code=exc.code)
            self.has_failed = not isinstance(exc, ModelProtocolError)
        else:
            work.by_model = work.has_looked = not called
        if not work.by_model:
            self.agents = tuple(called)
            if work.text:
                yield TextReset("handed_over" if called else "model_failed")
            yield AgentCompleted(ORCHESTRATOR)
            return
        for delta in crew._closed(self._brief, work):
            yield delta
        self.is_answered = True
        yield AgentCompleted(ORCHESTRATOR)
        yield crew.answered(work, (ORCHESTRATOR,))


def _take_in(part: Work, work: Work) -> None:
    work.usage = work.usage.plus(part.usage)
    work.constrain(tuple(part.constraints))
    work.degraded = work.degraded or part.degraded
    work.has_looked = work.has_looked or part.has_looked
    work.model, work.location = part.model or work.model, part.location or work.location
    if part.by_model and work.source in ("template", "model"):  # of several, the label of the one furthest from it
        work.source, work.rung = part.source, part.rung
