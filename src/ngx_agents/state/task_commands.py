"""Tasks of the open protocol, as the journal is told and asked of them. Part of `commands`.

A task is its turns: the one that began it, whose id is the task's, and those that further messages added, in the order
of their lane. Nothing else is stored of its state: it follows from the turns, so whoever ends a turn, after whatever
crash, has told the task too. What is to be sent to webhooks is noted by the database itself (triggers), in the
transaction that changes the turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ngx_agents.state.model import TERMINAL, Answer, Artifact, Owner, TurnStatus

TaskState = Literal[
    "submitted", "working", "input_required", "auth_required", "completed", "failed", "canceled", "rejected"
]
ENDED: frozenset[str] = frozenset({"completed", "failed", "canceled", "rejected"})
INTERRUPTED: frozenset[str] = frozenset({"input_required", "auth_required"})
OUTCOMES: frozenset[str] = INTERRUPTED | {"rejected"}
"""Codes of completed turns that ended with something else than an answer."""
MAX_TURNS = 500
"""Messages of one task."""
MAX_TASK_BYTES = 8 * 1_048_576
"""Of all messages of one task, as they were received."""
MAX_PUSHES = 20
"""Webhooks of one task."""
PushKind = Literal["task", "turn"]
"""Of a task: told of each change of each of its turns. Of one turn: told of its end."""
ENDED_WAITING = "cancelled while it waited for its caller"
"""The message of a turn that had asked its caller something when its task was cancelled."""


class PushConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook. `body` is the caller's record with its secrets sealed; `disabled_at` when it said 410."""

    id: str
    url: str
    body: bytes
    created_at: float
    kind: PushKind = "task"
    disabled_at: float | None = None


class TaskEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Makes a turn part of a task: of `task_id`, or of one that it begins (None). `message` is as it was received.

    AcceptTurn then also raises TurnFinished when the task has ended, NotFound when it is not there for this owner and
    agent, InvalidRequest when it has MAX_TURNS or would have more than MAX_TASK_BYTES.
    """

    context_id: str
    message: bytes
    task_id: str | None = None


class EndTask(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether the task waited for its caller, and is now cancelled. Other tasks stay as they are."""

    task_id: str
    owner: Owner
    agent: str | None
    now: float


class PutPush(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Replaces the webhook of the same id. Raises NotFound (no such task), InvalidRequest (MAX_PUSHES)."""

    task_id: str
    owner: Owner
    agent: str | None
    config: PushConfig


class DeletePush(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there. What was still to be sent to it goes too. Raises NotFound (no such task)."""

    task_id: str
    owner: Owner
    agent: str | None
    id: str


class GetTask(msgspec.Struct, frozen=True, kw_only=True):
    """→ TaskRecord | None. `messages` None: its turns have what they were sent; else the newest so many, others b""."""

    id: str
    owner: Owner
    agent: str | None
    messages: int | None = None


class ListTasks(msgspec.Struct, frozen=True, kw_only=True):
    """→ TaskPage, the newest status first. `since` is inclusive. Raises InvalidRequest for a cursor that is not ours.

    Without `with_artifacts` the records have none. `messages` as in GetTask; unless it is 0, a page ends before the
    messages of its tasks come to more than MAX_TASK_BYTES together.
    """

    owner: Owner
    agent: str | None
    limit: int
    cursor: str | None = None
    context_id: str | None = None
    state: TaskState | None = None
    since: float | None = None
    with_artifacts: bool = False
    messages: int | None = None


class ListPushes(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[PushConfig, ...] | None: by age; None when there is no such task. `id` narrows to one."""

    task_id: str
    owner: Owner
    agent: str | None
    id: str | None = None


class TaskTurn(msgspec.Struct, frozen=True, kw_only=True):
    """One message of a task and what became of it. `answer` has its text once the turn has ended."""

    id: str
    status: TurnStatus
    message: bytes
    accepted_at: float
    finished_at: float | None = None
    answer: Answer | None = None
    artifacts: tuple[Artifact, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.status not in TERMINAL

    @property
    def outcome(self) -> str | None:
        """Why it ended without an answer, if it did: one of OUTCOMES."""
        code = self.answer.code if self.answer is not None and self.status == "completed" else None
        return code if code in OUTCOMES else None


class TaskRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A task: at least one turn, in order."""

    id: str
    context_id: str
    conversation_id: str
    agent: str | None
    turns: tuple[TaskTurn, ...]

    @property
    def state(self) -> TaskState:
        return state_of(self.turns)

    @property
    def state_at(self) -> float:
        """Unix seconds since when, as lists are sorted by it."""
        last = self.turns[-1]
        return last.accepted_at if last.finished_at is None else last.finished_at

    @property
    def open_turn(self) -> TaskTurn | None:
        """The one that runs or is next."""
        return next((turn for turn in self.turns if turn.is_open), None)


class TaskPage(msgspec.Struct, frozen=True, kw_only=True):
    """`total` counts before paging; `next` is an opaque cursor, None on the last page."""

    items: tuple[TaskRecord, ...]
    total: int
    next: str | None = None


def fitting(rows: Sequence[Any], question: ListTasks) -> Sequence[Any]:
    """Those of a page, from rows whose fourth column is the bytes of a task's messages: one at least."""
    shown, size_bytes = rows[: question.limit], 0
    for place, row in enumerate(shown if question.messages != 0 else ()):
        size_bytes += row[3]
        if place and size_bytes > MAX_TASK_BYTES:
            return shown[:place]
    return shown


def state_of(turns: Sequence[TaskTurn]) -> TaskState:
    """What the turns of a task make of it."""
    if any(turn.is_open for turn in turns):
        return "submitted" if all(turn.status == "queued" for turn in turns) else "working"
    last = turns[-1]
    match last.status:
        case "cancelled":
            return "canceled"
        case "completed":
            outcome: TaskState | None = last.outcome  # type: ignore[assignment]  # one of OUTCOMES, all states
            return outcome or "completed"
        case _:
            return "failed"
