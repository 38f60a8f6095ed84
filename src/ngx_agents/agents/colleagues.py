"""The specialists as the bus knows them: asked by name, here or in another process, answered for when they cannot be.

A specialist that is busy, suspended, absent, late or that broke off is answered for by its own tools and template,
marked `degraded`. What no fallback can cure (the lease, the journal, the deadline, a cancel) passes through.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from ngx_agents.a2a.message import A2AContext, A2AMessage
from ngx_agents.a2a.refusals import AgentFailed, BudgetSpent, StreamBroken
from ngx_agents.agents.away_desk import AwayDesk
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.errand import AwayErrand, Errand, Kept, Logged, Made, Piece, Reported, Said, Withdrawn
from ngx_agents.agents.specialist import Specialist
from ngx_agents.agents.spending import Spending
from ngx_agents.agents.turn import AgentEvent, ArtifactMade, TextDelta, TextReset
from ngx_agents.clock import Clock
from ngx_agents.errors import DeadlineExceeded, JournalError, JournalUnavailable, NgxError, TurnError
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Counter, Metrics

RESERVE_S = 3.0
RESERVE_SHARE = 0.1
_log = event_log("agents")


class Colleague:
    """One specialist. `handle` is its end of the bus, `answer` its caller's. `is_here`: it answers in this process."""

    def __init__(
        self,
        name: str,
        specialist: Specialist,
        *,
        is_here: bool,
        clock: Clock,
        fallbacks: Counter,
        spending: Spending | None,
    ) -> None:
        self._name = name
        self._is_here = is_here
        self._spending = spending
        self._now_s = clock.monotonic_s
        self._specialist = specialist
        self._fallbacks = fallbacks

    async def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        """Deltas, resets and artifacts; `work` is complete when they end. Raises what no fallback can cure."""
        try:
            seat = brief.calls.seat(self._name)
            if seat is not None:
                before = work.usage.total_tokens
                with seat as calls:
                    async with aclosing(self._specialist.answer(self._asking(brief, calls), work)) as events:
                        async for event in events:
                            yield event
                    calls.spend(tokens=work.usage.total_tokens - before)
                return
            async with aclosing(self._sent(brief, work)) as events:
                async for event in events:
                    yield event
            return
        except NgxError as error:
            if _is_incurable(error) and not self._is_late_elsewhere(error, brief):
                raise
            self._fallbacks.labels(self._name, type(error).__name__).inc()
            _log.warning("agent.not_answered", agent=self._name, code=error.code, kind=type(error).__name__)
        work.degraded = True
        if work.text:
            work.text = ""
            yield TextReset("agent_failed")
        async with aclosing(self._specialist.by_template(brief, work)) as events:
            async for event in events:
                yield event

    def handle(self, message: A2AMessage) -> AsyncGenerator[object]:
        """For the bus: an `Errand` of this process or an `AwayErrand` of another."""
        asked = message.payload
        if isinstance(asked, Errand):
            return self._specialist.answer(self._asking(asked.brief, message.context), asked.work)
        assert isinstance(asked, AwayErrand)
        return self._serve(asked, message)

    def _deadline_s(self, brief: Brief) -> float:
        """Another process is not given the last moments of a turn, so that it can still be answered for."""
        deadline_s = brief.task.deadline_s
        if self._is_here:
            return deadline_s
        return deadline_s - min(RESERVE_S, RESERVE_SHARE * max(0.0, deadline_s - self._now_s()))

    def _is_late_elsewhere(self, error: NgxError, brief: Brief) -> bool:
        has_time = self._now_s() < brief.task.deadline_s
        return isinstance(error, DeadlineExceeded) and not self._is_here and has_time

    async def _sent(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        """The events of an errand, from wherever it is worked on."""
        errand = Errand(self._name, brief, work, reads=self._specialist.reads, spending=self._spending)
        before = work.usage.total_tokens
        try:
            async with aclosing(brief.calls.stream(self._name, errand, deadline_s=self._deadline_s(brief))) as pieces:
                async for told in pieces:
                    # in this process the pieces are the events
                    event = told if not isinstance(told, list) else await self._take_in(told, errand)
                    if event is not None:
                        yield event  # type: ignore[misc]
            self._settle(errand, before)
        finally:
            errand.settle()

    def _asking(self, brief: Brief, calls: A2AContext) -> Brief:
        """The brief of somebody who may ask others in turn."""
        return msgspec.structs.replace(brief, calls=calls) if self._specialist.asks_others else brief

    def _settle(self, errand: Errand, before: int) -> None:
        """Raises StreamBroken when another process ended without its report."""
        if not errand.is_away:
            errand.brief.calls.spend(tokens=errand.work.usage.total_tokens - before)
        elif errand.reported is None:
            raise StreamBroken(self._name)

    async def _take_in(self, told: list[object], errand: Errand) -> AgentEvent | None:
        brief, work = errand.brief, errand.work
        match _piece_of(told, self._name):
            case Said(text):
                return work.say(text)
            case Withdrawn(reason):
                work.text = ""
                return TextReset(reason)
            case Made(artifact):
                return self._specialist.announced(artifact, work)
            case Kept(key, value):
                await brief.desk.checkpoint(key, value)
                self._specialist.recover(key, value, work)
            case Logged(kind, at, data, key):
                await brief.desk.add_log(kind, at, data, key)
            case Reported(done):
                errand.reported = done
                work.take_over(done)
        return None

    async def _serve(self, asked: AwayErrand, message: A2AMessage) -> AsyncGenerator[object]:
        desk, work = AwayDesk(asked), Work(agent=self._name)
        brief = Brief(
            task=msgspec.structs.replace(asked.task, deadline_s=message.deadline_s),
            desk=desk,
            calls=message.context,
            language=asked.language,
            words=asked.words,
            cautions=asked.cautions,
            guidance=asked.guidance,
            skills=asked.skills,
            history_tokens=asked.history_tokens,
            economy=asked.economy,
            is_streamed=asked.is_streamed,
            is_paid_elsewhere=True,
        )
        async with aclosing(self._specialist.answer(brief, work)) as events:
            async for event in events:
                for note in desk.take_notes():
                    yield note
                yield _sent(event)
        for note in desk.take_notes():
            yield note
        message.context.spend(tokens=work.usage.total_tokens)
        yield Reported(work)


def fallback_counter(metrics: Metrics) -> Counter:
    return metrics.counter(
        "ngx_agent_fallbacks_total",
        "Specialists answered for by their templates, by what went wrong.",
        "agent",
        "reason",
    )


def _sent(event: AgentEvent) -> Piece:
    match event:
        case TextDelta():
            return Said(event.text)
        case TextReset():
            return Withdrawn(event.reason)
        case ArtifactMade():
            return Made(event.artifact)
        case _:
            raise TypeError(f"a specialist does not tell of {type(event).__name__}")


def _convert(told: list[object]) -> Piece:
    piece: Piece = msgspec.convert(told, Piece)
    return piece


def _piece_of(told: list[object], agent: str) -> Piece:
    try:
        return _convert(told)
    except msgspec.ValidationError as error:
        _log.warning("agent.unreadable", agent=agent)
        raise AgentFailed(agent) from error


def _is_incurable(error: NgxError) -> bool:
    if isinstance(error, BudgetSpent):
        return False
    return isinstance(error, TurnError | JournalError | JournalUnavailable)
