"""Runs one granted turn to its end: load, answer, finish.

The end is stored in one transaction that matches the granted epoch *before* the terminal event is sent. This is the
supervisor of a turn: one that breaks, however it does, ends `failed`, and its neighbours never notice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import get_args

import msgspec

from ngx_agents.agents.turn import (
    AgentCompleted,
    AgentEvent,
    AgentStarted,
    Answered,
    ArtifactMade,
    Attachment,
    Team,
    TextDelta,
    TextReset,
    TurnTask,
)
from ngx_agents.clock import Clock
from ngx_agents.errors import DeadlineExceeded, JournalUnavailable, LeaseLost, NgxError, Unavailable
from ngx_agents.resilience.caller import CALLER, Caller
from ngx_agents.state.commands import Finished, FinishTurn, GetProfile, Grant, RecentMessages, ReleaseLane
from ngx_agents.state.ids import Ids, shard_in
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer, Message, Source, TurnStatus
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.attachments import Attachments
from ngx_agents.turns.batch_places import BatchPlaces
from ngx_agents.turns.desk import TurnDesk
from ngx_agents.turns.events import terminal
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.model import ended_view
from ngx_agents.turns.settings import BATCH_CLASS, TurnSettings
from ngx_agents.turns.unwatched import UNWATCHED

log = event_log("turns")
FIRST_RETRY_S = 0.1
LAST_RETRY_S = 8.0
STOPPED = {
    "cancelled": "cancelled by the user",
    "interrupted": "interrupted by a newer message",
    UNWATCHED: "nobody watched it",
}


class TurnRunner:
    """Keeps nothing between turns; `run` is called by the task of the turn's lane."""

    def __init__(  # noqa: PLR0913  # what it works with, all by name
        self,
        *,
        journal: Journal,
        team: Team,
        ids: Ids,
        clock: Clock,
        metrics: Metrics,
        settings: TurnSettings,
        batches: BatchPlaces,
    ) -> None:
        self._batches = batches
        self._journal = journal
        self._attachments = Attachments(journal)
        self._team = team
        self._ids = ids
        self._clock = clock
        self._settings = settings
        turns = metrics.counter("ngx_turns_total", "Turns that ended, by status.", "status")
        self._ended = {status: turns.labels(status) for status in ("completed", "failed", "cancelled", "dead")}
        self._seconds = metrics.histogram("ngx_turn_seconds", "From acceptance to the stored end.").labels()
        answers = metrics.counter("ngx_answers_total", "Answers by source.", "source")
        self._sources = {source: answers.labels(source) for source in get_args(Source)}

    async def run(self, live: LiveTurn, grant: Grant, *, next_owner: Callable[[], str | None]) -> Grant | None:
        """The lane's next turn, if it was granted with this one's end. Raises CancelledError when the engine stops.

        `next_owner` is asked at the end who gets the lane's next turn.
        """
        desk = TurnDesk(grant, journal=self._journal, ids=self._ids, clock=self._clock)
        try:
            if grant.attempts > self._settings.max_attempts:
                outcome = _given_up(self._settings.max_attempts)
            else:
                outcome = await self._outcome(live, grant, desk)
            live.finishing = True
            return await self._finish(live, grant, desk, outcome, next_owner())
        except LeaseLost:
            log.warning("turn.lease_lost", turn_id=grant.turn_id, epoch=grant.epoch)
            live.abandon()
            return None
        except asyncio.CancelledError:
            live.abandon()
            await self.release(grant)
            raise

    async def release(self, grant: Grant) -> None:
        """Gives the unfinished turn back to be claimed; if the journal is away, the next start claims it anyway."""
        try:
            await self._journal.transact([ReleaseLane(conversation_id=grant.conversation_id, epoch=grant.epoch)])
        except JournalUnavailable as error:
            log.error("lane.not_released", turn_id=grant.turn_id, code=error.code)

    async def _outcome(self, live: LiveTurn, grant: Grant, desk: TurnDesk) -> tuple[TurnStatus, Answer]:
        try:
            if live.stop_code is not None:
                return self._stopped(live)
            if live.deadline_s <= self._clock.monotonic_s():
                raise TimeoutError
            async with asyncio.timeout(live.deadline_s - self._clock.monotonic_s()):
                answered = await self._answer(live, grant, desk)
        except LeaseLost:
            raise
        except asyncio.CancelledError:
            if live.stop_code is None:
                raise
            _stay_alive()
            return self._stopped(live)
        except Exception as error:  # noqa: BLE001 - the supervisor of a turn
            return self._failed(live, error)
        self._sources[answered.source].inc()
        return "completed", Answer(
            text=answered.text,
            source=answered.source,
            rung=answered.rung,
            model=answered.model,
            location=answered.location,
            degraded=answered.degraded,
            agents=answered.agents,
            usage=_usage(answered),
            code=None if answered.outcome == "answered" else answered.outcome,
        )

    async def _answer(self, live: LiveTurn, grant: Grant, desk: TurnDesk) -> Answered:
        async with self._attachments.fetched(grant) as attachments:
            return await self._answer_with(live, grant, desk, attachments)

    async def _answer_with(
        self, live: LiveTurn, grant: Grant, desk: TurnDesk, attachments: tuple[Attachment, ...]
    ) -> Answered:
        CALLER.set(Caller(grant.owner.tenant, grant.owner.user, grant.turn_class))
        gives_way = grant.turn_class == BATCH_CLASS
        if gives_way:
            await self._batches.give_way()
        live.stream.publish("turn.started", {"turn_id": grant.turn_id})
        history = await self._journal.query(
            RecentMessages(
                conversation_id=grant.conversation_id,
                owner=grant.owner,
                before=grant.user_seq,
                limit=self._settings.history_messages,
            )
        )
        profile = await self._journal.query(GetProfile(owner=grant.owner))
        await desk.load()
        task = TurnTask(
            turn_id=grant.turn_id,
            conversation_id=grant.conversation_id,
            owner=grant.owner,
            text=grant.text,
            history=history,
            profile=profile,
            deadline_s=live.deadline_s,
            now=self._clock.now_s(),
            turn_class=grant.turn_class,
            agent=grant.agent,
            locale=grant.locale,
            attachments=attachments,
            trail=grant.trail,
            is_streamed=live.is_streamed or live.stream.listeners > 0,
        )
        answered: Answered | None = None
        async for event in self._team.answer(task, desk):
            if gives_way:
                await self._batches.give_way()
            if isinstance(event, Answered):
                answered = event
            else:
                _tell(live, event)
        if answered is None:
            raise NgxError("the team gave no answer")
        _settle_text(live, answered)
        return answered

    def _stopped(self, live: LiveTurn) -> tuple[TurnStatus, Answer]:
        code = live.stop_code or "cancelled"
        return "cancelled", Answer(code=code, message=STOPPED[code], text=live.stream.text)

    def _failed(self, live: LiveTurn, error: Exception) -> tuple[TurnStatus, Answer]:
        if isinstance(error, TimeoutError):
            error = DeadlineExceeded("the turn's time was up")
        if not isinstance(error, NgxError):
            log.exception("turn.broke", turn_id=live.id)
            return "failed", Answer(code="internal", message="the turn failed", text=live.stream.text)
        retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        return "failed", Answer(code=error.code, message=str(error), text=live.stream.text, retry_after_s=retry_after_s)

    async def _finish(
        self,
        live: LiveTurn,
        grant: Grant,
        desk: TurnDesk,
        outcome: tuple[TurnStatus, Answer],
        grant_next_to: str | None,
    ) -> Grant | None:
        status, answer = outcome
        answer = msgspec.structs.replace(answer, artifacts=tuple(made.id for made in live.stream.artifacts))
        now = self._clock.now_s()
        message = None
        if answer.text:
            message = Message(
                id=self._ids.new("m", shard_in(grant.turn_id)),
                seq=0,
                role="assistant",
                text=answer.text,
                created_at=now,
                turn_id=grant.turn_id,
                agent=answer.agents[0] if len(answer.agents) == 1 else None,
                source=answer.source,
            )
        command = FinishTurn(
            conversation_id=grant.conversation_id,
            owner=grant.owner,
            turn_id=grant.turn_id,
            user_seq=grant.user_seq,
            epoch=grant.epoch,
            status=status,
            answer=answer,
            last_seq=live.stream.next_sequence(),
            now=now,
            message=message,
            artifacts=tuple(live.stream.artifacts),
            grant_to=grant_next_to,
            has_checkpoints=desk.has_checkpoints,
        )
        stored, finished = await self._store(command)
        if stored is not command:
            status, answer = "failed", stored.answer
        if finished.durability != answer.durability:
            answer = msgspec.structs.replace(answer, durability=finished.durability)
        self._ended[status].inc()
        self._seconds.observe(max(0.0, now - grant.accepted_at))
        view = ended_view(live.id, live.conversation_id, status=status, answer=answer, artifacts=stored.artifacts)
        live.end(*terminal(view), view)
        return finished.next

    async def _store(self, command: FinishTurn) -> tuple[FinishTurn, Finished]:
        """What was stored, and its result. Raises LeaseLost when the end is not ours to write.

        While the journal is away the answer is held. An end that the journal refuses for good is stored without what
        it left, as a failure: a lane must not jam.
        """
        delay_s = FIRST_RETRY_S
        while True:
            try:
                [result] = await self._journal.transact([command])
            except JournalUnavailable as error:
                result = error
            if isinstance(result, Finished):
                return command, result
            if isinstance(result, LeaseLost):
                raise result
            log.error("turn.end_not_stored", turn_id=command.turn_id, code=getattr(result, "code", "internal"))
            if not isinstance(result, JournalUnavailable):
                command = _bare_end(command)
            await self._clock.sleep(delay_s)
            delay_s = min(LAST_RETRY_S, 2 * delay_s)


def _bare_end(command: FinishTurn) -> FinishTurn:
    answer = Answer(code="internal", message="the turn's end could not be stored")
    return msgspec.structs.replace(command, status="failed", answer=answer, message=None, artifacts=())


def _given_up(attempts: int) -> tuple[TurnStatus, Answer]:
    return "dead", Answer(code="dead", message=f"given up after {attempts} attempts")


def _stay_alive() -> None:
    """A stop ends the turn, not the lane's task: the cancellation was meant for what was awaited."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


def _usage(answered: Answered) -> dict[str, int]:
    usage = answered.usage
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "thought_tokens": usage.thought_tokens,
        "cached_tokens": usage.cached_tokens,
    }


def _tell(live: LiveTurn, event: AgentEvent) -> None:
    match event:
        case TextDelta():
            live.stream.say(event.text, event.agent)
        case TextReset():
            live.stream.reset(event.reason)
        case AgentStarted():
            live.agent_began()
            live.stream.publish("agent.started", {"agent": event.agent})
        case AgentCompleted():
            live.agent_ended()
            live.stream.publish("agent.completed", {"agent": event.agent})
        case ArtifactMade():
            live.stream.add_artifact(event.artifact)
        case Answered():
            pass


def _settle_text(live: LiveTurn, answered: Answered) -> None:
    """What listeners heard is what is stored: a difference is withdrawn and said again."""
    said, agent = live.stream.text, answered.agents[0] if answered.agents else ""
    if said != answered.text or answered.outcome != "answered":
        if said:
            live.stream.reset("corrected")
        if answered.outcome == "answered":
            live.stream.say(answered.text, agent)
        else:
            live.stream.ask(answered.text, agent, outcome=answered.outcome)
