"""What the journal keeps, as typed records. Times are Unix seconds (float, UTC); ids come from `state.ids`."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

TurnStatus = Literal["queued", "running", "completed", "failed", "cancelled", "dead"]
TERMINAL: frozenset[str] = frozenset({"completed", "failed", "cancelled", "dead"})
WhenBusy = Literal["enqueue", "reject", "interrupt", "coalesce"]
LogKind = Literal["weight", "sleep", "workout", "check_in", "nutrition"]
Source = Literal["model", "cache", "stale", "local", "template", "remote"]
EffectState = Literal["intended", "done", "failed", "unknown"]
Durability = Literal["journal", "local"]
"""Where it is safe: in the journal, or on one instance's own disk until the journal is back."""


class Owner(msgspec.Struct, frozen=True):
    """Whose data it is. Every read and write carries it; another owner's data looks absent."""

    tenant: str
    user: str


class Message(msgspec.Struct, kw_only=True):
    """One message of a conversation. `seq` grows in the order of the conversation: 2n-1 for the n-th turn's question,
    2n for its answer (there may be gaps). Imported messages have no turn: `turn_id` is empty.

    `rung`, `model` and `degraded` are the turn's, filled in where messages are listed.
    `derived` is never stored: upper layers keep there what they computed from the message once.
    """

    id: str
    seq: int
    role: Literal["user", "assistant"]
    text: str
    created_at: float
    turn_id: str
    agent: str | None = None
    source: Source | None = None
    rung: str | None = None
    model: str | None = None
    degraded: bool = False
    derived: Any = None


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """A plan or report that a turn left. `data` is JSON; `kind` is one of the team's names, such as `TrainingPlan`."""

    id: str
    agent: str
    kind: str
    title: str
    data: dict[str, Any]
    created_at: float
    turn_id: str
    conversation_id: str
    version: int = 1


class Profile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the user told about themselves. Lengths in cm, weights in kg, ages in years."""

    name: str | None = None
    age: int | None = None
    sex: Literal["female", "male"] | None = None
    height_cm: float | None = None
    weight_kg: float | None = None
    role: str | None = None
    experience: Literal["beginner", "intermediate", "advanced"] | None = None
    activity: Literal["sedentary", "light", "moderate", "high", "very_high"] | None = None
    goals: list[str] = []
    restrictions: list[str] = []
    allergies: list[str] = []
    injuries: list[str] = []
    equipment: list[str] = []
    conditions: list[str] = []
    medication: list[str] = []
    pregnant: bool = False
    programme: str | None = None
    locale: str | None = None


class LogEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One thing the user logged. `data` has the fields of its kind, for weight `{"kg": 81.2}`; `at` is when it held."""

    id: str
    kind: LogKind
    at: float
    data: dict[str, Any]


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a turn ended, stored with it and shown to the caller as it is."""

    text: str = ""
    source: Source | None = None
    rung: str | None = None
    model: str | None = None
    location: str | None = None
    degraded: bool = False
    agents: tuple[str, ...] = ()
    usage: dict[str, int] = {}
    artifacts: tuple[str, ...] = ()
    code: str | None = None
    message: str | None = None
    retry_after_s: float | None = None
    durability: Durability = "journal"


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One turn as the journal has it. `epoch` is of its last grant; `last_seq` of its last event."""

    id: str
    conversation_id: str
    owner: Owner
    status: TurnStatus
    text: str
    seq: int
    accepted_at: float
    deadline_at: float
    turn_class: int
    locale: str | None = None
    agent: str | None = None
    attempts: int = 0
    epoch: int = 0
    last_seq: int = 0
    cancel_requested: bool = False
    attachments: tuple[str, ...] = ()
    finished_at: float | None = None
    answer: Answer | None = None
    trail: str | None = None


class ConversationInfo(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    created_at: float
    updated_at: float
    messages: int


class Page(msgspec.Struct, frozen=True):
    """One page of a list; `next` is an opaque cursor, or None on the last page."""

    items: tuple[Any, ...]
    next: str | None = None
