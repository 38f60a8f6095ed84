"""What the team is given and what it gives back: the boundary between the turn engine and the agents.

The engine calls `Team.answer(task, desk)` and iterates: any number of events, the last one an `Answered`.
The engine cancels by cancelling the iterating task; the team keeps no state between turns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, Protocol

import msgspec

from ngx_agents.state.model import Artifact, LogEntry, LogKind, Message, Owner, Profile, Source
from ngx_agents.vertex.content import Usage


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """What came with the message. `data` is None when it was deleted since."""

    media_type: str
    data: bytes | None
    name: str | None = None


class TurnTask(msgspec.Struct, frozen=True, kw_only=True):
    """One turn to answer. `history` is oldest first, without the message that is being answered (`text`).

    `deadline_s` is absolute on the engine's monotonic clock. `agent` is the caller's explicit choice, already known
    to exist. `is_streamed` False: nobody reads along, the whole answer may come at once. `locale` is what the caller
    asked for, such as `es-MX`; None means: tell from the text. `trail` is what other servers told of its way.
    """

    turn_id: str
    conversation_id: str
    owner: Owner
    text: str
    history: Sequence[Message]
    profile: Profile
    deadline_s: float
    now: float
    turn_class: int = 1
    agent: str | None = None
    locale: str | None = None
    attachments: tuple[Attachment, ...] = ()
    is_streamed: bool = True
    trail: str | None = None


class Desk(Protocol):
    """What the engine does for a running turn. Every method raises LeaseLost when the turn is no longer ours."""

    def recall(self, key: str) -> bytes | None:
        """What an earlier attempt of this turn checkpointed under `key`."""
        ...

    def remembered(self, prefix: str) -> Mapping[str, bytes]:
        """All of that under keys that begin so."""
        ...

    async def checkpoint(self, key: str, value: bytes) -> None:
        """Durable when it returns; from then on recalled."""
        ...

    async def logs(self, kind: LogKind, since: float) -> Sequence[LogEntry]:
        """The user's own entries, oldest first."""
        ...

    async def add_log(self, kind: LogKind, at: float, data: dict[str, object], key: str) -> None:
        """An effect: recorded `intended` before it runs and never repeated for the same `key` in the same turn."""
        ...

    def new_artifact(self, *, agent: str, kind: str, title: str, data: dict[str, object]) -> Artifact:
        """Made now, stored when the turn finishes; give it back in an `ArtifactMade`."""
        ...


class AgentStarted(msgspec.Struct, frozen=True):
    agent: str


class TextDelta(msgspec.Struct, frozen=True):
    text: str
    agent: str


class TextReset(msgspec.Struct, frozen=True):
    """All text so far is withdrawn; `reason` is a stable word such as `model_failed`."""

    reason: str


class ArtifactMade(msgspec.Struct, frozen=True):
    artifact: Artifact


class AgentCompleted(msgspec.Struct, frozen=True):
    agent: str


Outcome = Literal["answered", "input_required", "auth_required", "rejected"]


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer: `text` equals what the deltas since the last reset add up to.

    `rung` is the step of the fallback ladder that answered: the model's `shared`, `provisioned`, `priority`,
    `location`, `sibling`; `cache`, `stale`, `local`; `template` or `safety`. `degraded` when a better one failed.
    `outcome` tells an answer from a question back (`text` asks it), a wait for the user's authorisation elsewhere, and
    a refusal; then no delta comes before it.
    """

    text: str
    source: Source
    rung: str
    agents: tuple[str, ...]
    usage: Usage = Usage()
    model: str | None = None
    location: str | None = None
    degraded: bool = False
    outcome: Outcome = "answered"


AgentEvent = AgentStarted | TextDelta | TextReset | ArtifactMade | AgentCompleted | Answered


class Team(Protocol):
    """A team of agents, whatever it is about."""

    def knows(self, agent_id: str) -> bool: ...

    def answer(self, task: TurnTask, desk: Desk) -> AsyncIterator[AgentEvent]:
        """Raises NgxError only for what no fallback can cure (LeaseLost, DeadlineExceeded)."""
        ...
