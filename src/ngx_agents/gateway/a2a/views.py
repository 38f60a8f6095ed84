"""A task's record as the protocol's Task. What is the same in the journal is the same here, whoever asks and when."""

from __future__ import annotations

import math

from a2a.types import Artifact, Message, Task, TaskState, TaskStatus
from google.protobuf.timestamp_pb2 import Timestamp

from ngx_agents.gateway.a2a.parts import agent_message, answer_artifact, artifact_of
from ngx_agents.state import task_commands as t

STATES: dict[t.TaskState, TaskState] = {
    "submitted": TaskState.TASK_STATE_SUBMITTED,
    "working": TaskState.TASK_STATE_WORKING,
    "input_required": TaskState.TASK_STATE_INPUT_REQUIRED,
    "auth_required": TaskState.TASK_STATE_AUTH_REQUIRED,
    "completed": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "canceled": TaskState.TASK_STATE_CANCELED,
    "rejected": TaskState.TASK_STATE_REJECTED,
}
NAMES = {number: name for name, number in STATES.items()}


def timestamp(at: float) -> Timestamp:
    """To the millisecond, rounded down: what is asked for since a time that was told includes what has it."""
    made = Timestamp()
    made.FromMilliseconds(math.floor(at * 1000))
    return made


def task_of(record: t.TaskRecord, *, history_length: int | None = None, with_artifacts: bool = True) -> Task:
    """`history_length` None is all of it, 0 none."""
    task = Task(id=record.id, context_id=record.context_id, status=status_of(record))
    if history_length != 0:
        history = history_of(record)
        task.history.extend(history if history_length is None else history[-history_length:])
    if with_artifacts:
        task.artifacts.extend(artifact for turn in record.turns for artifact in artifacts_of(turn))
    return task


def artifacts_of(turn: t.TaskTurn) -> list[Artifact]:
    """What a turn left: what its tools made, and its text when that is an answer."""
    made = [artifact_of(artifact) for artifact in turn.artifacts]
    has_asked = turn.outcome is not None or (turn.answer is not None and turn.answer.message == t.ENDED_WAITING)
    if turn.answer is not None and turn.answer.text and not has_asked:
        made.insert(0, answer_artifact(turn.id, turn.answer.text))
    return made


def history_of(record: t.TaskRecord) -> list[Message]:
    """What the caller said, and what the agent asked back and was answered since."""
    said: list[Message] = []
    for turn in record.turns:
        said.append(message_of(record, turn))
        if turn.outcome is not None and turn is not record.turns[-1]:
            said.append(question_of(record, turn))
    return said


def message_of(record: t.TaskRecord, turn: t.TaskTurn) -> Message:
    message = Message.FromString(turn.message)
    message.task_id, message.context_id = record.id, record.context_id
    return message


def question_of(record: t.TaskRecord, turn: t.TaskTurn) -> Message:
    """What the agent said in place of an answer, or why there is none."""
    text = "" if turn.answer is None else turn.answer.text if turn.outcome is not None else turn.answer.message or ""
    return agent_message(f"status-{turn.id}", [text], task_id=record.id, context_id=record.context_id)


def status_of(record: t.TaskRecord) -> TaskStatus:
    last = record.turns[-1]
    status = TaskStatus(state=STATES[record.state], timestamp=timestamp(record.state_at))
    is_told = last.outcome is not None or (last.answer is not None and last.answer.message)
    if not last.is_open and is_told:
        status.message.CopyFrom(question_of(record, last))
    return status
