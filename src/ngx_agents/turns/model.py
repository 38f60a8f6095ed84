"""What callers hand to the turn engine and what they get back."""

from __future__ import annotations

from typing import Protocol

import msgspec

from ngx_agents.state.commands import CreateConversation, PushConfig, TaskEntry
from ngx_agents.state.model import Answer, Artifact, Durability, Owner, Source, TurnStatus, WhenBusy


class TurnTicket(Protocol):
    """What let a turn in. The turn tells what it spent and gives it back when it ends; more than once is nothing."""

    @property
    def behind_s(self) -> float: ...

    def weigh(self, calls: int) -> None: ...

    def spent(self, *, input_tokens: int, output_tokens: int) -> None: ...

    def release(self) -> None: ...


class TurnRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One user message to be answered. `timeout_s` is at most the class's own (30, 60, 90, 600 s), and
    that when None.

    `agent` is checked against the team. `is_streamed` False: the caller waits for the whole answer.
    `idempotency_hash` is SHA-256 over path and body, needed with a key. `begins` is a conversation that is made with
    the turn; `task` makes the turn part of a task of the open protocol; `push` is a webhook that is told
    of it; `trail` what other servers told of its way (see AcceptTurn).
    """

    conversation_id: str
    owner: Owner
    text: str
    turn_class: int = 1
    when_busy: WhenBusy = "enqueue"
    agent: str | None = None
    locale: str | None = None
    timeout_s: float | None = None
    idempotency_key: str | None = None
    idempotency_hash: bytes = b""
    attachments: tuple[str, ...] = ()
    is_streamed: bool = True
    ticket: TurnTicket | None = None
    begins: CreateConversation | None = None
    task: TaskEntry | None = None
    push: PushConfig | None = None
    trail: str | None = None


class TurnView(msgspec.Struct, frozen=True, kw_only=True):
    """A turn as its caller sees it; the JSON answer of the HTTP surface. Fields that are not known yet are null."""

    turn_id: str
    conversation_id: str
    status: TurnStatus
    text: str = ""
    source: Source | None = None
    rung: str | None = None
    model: str | None = None
    location: str | None = None
    degraded: bool = False
    agents: tuple[str, ...] = ()
    usage: dict[str, int] = {}
    durability: Durability = "journal"
    artifacts: tuple[Artifact, ...] = ()
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None


def ended_view(
    turn_id: str, conversation_id: str, *, status: TurnStatus, answer: Answer, artifacts: tuple[Artifact, ...]
) -> TurnView:
    """An ended turn as its caller sees it."""
    return TurnView(
        turn_id=turn_id,
        conversation_id=conversation_id,
        status=status,
        text=answer.text,
        source=answer.source,
        rung=answer.rung,
        model=answer.model,
        location=answer.location,
        degraded=answer.degraded,
        agents=answer.agents,
        usage=answer.usage,
        durability=answer.durability,
        artifacts=artifacts,
        code=answer.code,
        message=answer.message,
        retry_after_s=answer.retry_after_s,
    )
