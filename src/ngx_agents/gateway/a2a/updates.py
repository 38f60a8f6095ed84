"""A task's events, read from its turns: the same ones in the same order for whoever listens, at any instance.

A stream is a Task and then the events of its open turns, each from that turn's beginning: so nothing is missed and
nothing comes twice. While the task waits for its caller, the journal is asked now and then whether it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeAlias

import msgspec
from a2a.types import Artifact, Part, Task, TaskArtifactUpdateEvent, TaskStatus, TaskStatusUpdateEvent
from google.protobuf.timestamp_pb2 import Timestamp

from ngx_agents.clock import Clock
from ngx_agents.errors import NotFound
from ngx_agents.gateway.a2a.parts import TEXT, answer_id, artifact_of
from ngx_agents.gateway.a2a.views import STATES, status_of, timestamp
from ngx_agents.gateway.event_stream import frames_of
from ngx_agents.state import model
from ngx_agents.state.commands import GetTask
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.state.task_commands import TaskRecord
from ngx_agents.turns.engine import TurnEngine

Event: TypeAlias = Task | TaskStatusUpdateEvent | TaskArtifactUpdateEvent
LOOK_S = 0.5
_decode = msgspec.json.Decoder().decode


class Tasks:
    """Where a caller's tasks are read, waited for and listened to."""

    def __init__(self, journal: Journal, engine: TurnEngine, clock: Clock) -> None:
        self.engine = engine
        self._journal = journal
        self._clock = clock

    async def record(self, task_id: str, owner: Owner, agent: str | None, *, messages: int | None = None) -> TaskRecord:
        """With the newest `messages` of what was sent, None for all. Raises NotFound."""
        question = GetTask(id=task_id, owner=owner, agent=agent, messages=messages)
        found: TaskRecord | None = await self._journal.query(question)
        if found is None:
            raise NotFound("no such task")
        return found

    async def settled(
        self, task_id: str, owner: Owner, agent: str | None, *, within_s: float, after: str | None = None
    ) -> TaskRecord:
        """The task when it has ended or waits for its caller; as it is when the time is up. Raises NotFound.

        `after` is a turn of it that is known to be open.
        """
        try:
            async with asyncio.timeout(within_s):
                if after is not None:
                    await self.engine.wait(after, owner)
                record = await self.record(task_id, owner, agent)
                while (turn := record.open_turn) is not None:
                    await self.engine.wait(turn.id, owner)
                    record = await self.record(task_id, owner, agent)
                return record
        except TimeoutError:
            return await self.record(task_id, owner, agent)

    async def follow(
        self, record: TaskRecord, owner: Owner, *, until: frozenset[str], within_s: float
    ) -> AsyncGenerator[Event]:
        """Events after `record`, until the task is in one of the states or the time is up. Raises NotFound."""
        until_s = self._clock.monotonic_s() + within_s
        heard: set[str] = {turn.id for turn in record.turns if not turn.is_open}
        while self._clock.monotonic_s() < until_s and not self.engine.is_draining:
            following = next((turn for turn in record.turns if turn.id not in heard), None)
            if following is None:
                if record.state in until:
                    return
                await self._clock.sleep(LOOK_S)
            else:
                heard.add(following.id)
                turn = _TurnEvents(record, following.id, timestamp(following.accepted_at))
                async with asyncio.timeout(max(0.0, until_s - self._clock.monotonic_s())):
                    async for event in self._of_turn(turn, owner):
                        yield event
            record = await self.record(record.id, owner, record.agent, messages=0)
            if following is not None:
                for event in self._after(record, following.id):
                    yield event

    async def _of_turn(self, turn: _TurnEvents, owner: Owner) -> AsyncGenerator[Event]:
        """From its beginning to its end, wherever it runs and whoever takes it over."""
        while not turn.has_ended and not self.engine.is_draining:
            listening = await self.engine.subscribe(turn.turn_id, owner, None)
            try:
                while (chunk := await listening.read()) is not None:
                    for name, data in frames_of(chunk):
                        for event in turn.heard(name, _decode(data)):
                            yield event
            finally:
                listening.close()
            if not turn.has_ended:
                turn.restart()
                await self._clock.sleep(LOOK_S)

    def _after(self, record: TaskRecord, turn_id: str) -> list[Event]:
        """What its end made of the task; nothing when more of it is open."""
        if record.open_turn is not None or record.turns[-1].id != turn_id:
            return []
        return [TaskStatusUpdateEvent(task_id=record.id, context_id=record.context_id, status=status_of(record))]


class _TurnEvents:
    """Turns one turn's events into the protocol's."""

    def __init__(self, record: TaskRecord, turn_id: str, at: Timestamp) -> None:
        self.turn_id = turn_id
        self.has_ended = False
        self._task_id = record.id
        self._context_id = record.context_id
        self._at = at
        self._is_told_working = False
        self._said: list[str] = []
        self._is_withdrawn = False
        self._artifacts: set[str] = set()

    def heard(self, name: str, data: dict[str, object]) -> list[Event]:
        match name:
            case "turn.started":
                return self._working()
            case "text.delta" if "outcome" not in data:
                return [*self._working(), self._text(str(data["text"]))]
            case "text.reset":
                self._is_withdrawn = bool(self._said)
            case "artifact":
                return [*self._working(), *self._artifact(data)]
            case "turn.completed" | "turn.failed" | "turn.cancelled":
                self.has_ended = True
                return self._last()
            case _:
                pass
        return []

    def restart(self) -> None:
        """The turn is heard again from its beginning: what was said is said anew, in place of it."""
        self._is_withdrawn = bool(self._said)

    def _working(self) -> list[Event]:
        if self._is_told_working:
            return []
        self._is_told_working = True
        status = TaskStatus(state=STATES["working"], timestamp=self._at)
        return [TaskStatusUpdateEvent(task_id=self._task_id, context_id=self._context_id, status=status)]

    def _text(self, text: str) -> Event:
        if self._is_withdrawn:
            self._said.clear()
            self._is_withdrawn = False
        append = bool(self._said)
        self._said.append(text)
        return self._answer(text, append=append)

    def _answer(self, text: str, *, append: bool = False, is_last: bool = False) -> Event:
        part = Part(text=text, media_type=TEXT)
        return self._update(
            Artifact(artifact_id=answer_id(self.turn_id), name="answer", parts=[part]), append=append, is_last=is_last
        )

    def _artifact(self, data: dict[str, object]) -> list[Event]:
        if str(data["id"]) in self._artifacts:
            return []
        self._artifacts.add(str(data["id"]))
        content = data["data"]
        made = model.Artifact(
            id=str(data["id"]), agent="", kind=str(data["kind"]), title=str(data["title"]),
            data=content if isinstance(content, dict) else {}, created_at=0.0, turn_id=self.turn_id,
            conversation_id="",
        )  # fmt: skip
        return [self._update(artifact_of(made), append=False, is_last=True)]

    def _last(self) -> list[Event]:
        """What was said in pieces comes once more as a whole, in place of them, for clients that keep only what is
        complete; what was withdrawn for good is emptied."""
        if not self._said:
            return []
        return [self._answer("" if self._is_withdrawn else "".join(self._said), is_last=True)]

    def _update(self, artifact: Artifact, *, append: bool, is_last: bool) -> Event:
        return TaskArtifactUpdateEvent(
            task_id=self._task_id, context_id=self._context_id, artifact=artifact, append=append, last_chunk=is_last
        )


def begun(record: TaskRecord, turn_id: str) -> TaskRecord:
    """The task as it was when this turn of it was accepted: where the stream of who sent the message begins."""
    place = next(place for place, turn in enumerate(record.turns) if turn.id == turn_id)
    waiting = msgspec.structs.replace(record.turns[place], status="queued", answer=None, finished_at=None, artifacts=())
    return msgspec.structs.replace(record, turns=(*record.turns[:place], waiting))
