"""What the journal is told and asked about states, consents and expiry. Part of `commands`.

A conversation's state is bytes to the journal, made and read by `state.codec`. Its version is 0 while it was never
saved; each save raises it to the milliseconds of its time or by one, whichever is more, so that what replaces a deleted
conversation never has a version that the former one had.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import LogKind, Message, Owner, Profile

ExpiryKind = Literal[
    "idempotency",
    "turns",
    "conversations",
    "batches",
    "messages",
    "artifacts",
    "attachments",
    "logs",
    "audit",
    "outbox",
]
IDEMPOTENCY_KEPT_S = 86_400.0


def next_version(former: int, now_s: float) -> int:
    """The version that follows `former` for something written at `now_s`."""
    return max(former + 1, int(now_s * 1000))


def appended_seqs(next_turn: int, messages: tuple[Message, ...]) -> tuple[int, ...]:
    """A message takes a turn's place: the odd number when it is the user's, else the even one."""
    return tuple(2 * (next_turn + offset) - (message.role == "user") for offset, message in enumerate(messages))


class Stamp(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Where a conversation stands. Each number only grows, so two equal stamps mean that nothing was written between.

    `next_turn` counts turns and appended messages, `epoch` grants. `is_idle`: no turn is open; while one is, its
    question may still change.
    """

    version: int
    next_turn: int
    epoch: int
    is_idle: bool
    created_at: float


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """One decision of a user. `version` names the text they were shown."""

    kind: str
    version: str
    is_given: bool
    at: float


class ErasureReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did: `erased` are rows per kind. It names no one, so it may be kept."""

    id: str
    at: float
    erased: dict[str, int]


# Commands


class PutState(msgspec.Struct, frozen=True, kw_only=True):
    """→ Stamp after the write. Makes the conversation when it is absent. Raises StateConflict, NotFound (not theirs).

    `expected_version` is what the caller read: 0 when there was none, None to write over anything.
    """

    conversation_id: str
    owner: Owner
    body: bytes
    now: float
    expected_version: int | None = None


class Append(msgspec.Struct, frozen=True, kw_only=True):
    """→ Appended. Adds messages in their order, whatever else runs. Makes the conversation when it is absent.

    Raises NotFound when it is someone else's.
    """

    conversation_id: str
    owner: Owner
    messages: tuple[Message, ...]
    now: float


class Appended(msgspec.Struct, frozen=True, kw_only=True):
    """`seqs` has one number per message."""

    stamp: Stamp
    seqs: tuple[int, ...]


class PutConsent(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. Decisions are added, never changed: the latest of a kind holds."""

    owner: Owner
    consent: Consent


class Expire(msgspec.Struct, frozen=True, kw_only=True):
    """→ int: how many went, at most `limit`; fewer means that none are left. Raises InvalidRequest.

    idempotency    keys from before; `before` is at least a day before `now`, for messages too
    turns          the effects and checkpoints of turns that finished before
    conversations  those last changed before, unless a turn is open; their artifacts stay
    batches        those that ended before, with the conversations made for their inputs; counted are inputs
    messages       questions and answers, both from before, with their turns; not of a conversation with a turn open
    artifacts      those made before, unless a turn of their conversation is open
    attachments    those sent before, unless a turn is open that has them or is of their conversation
    logs           entries of `log_kind` about a time before
    audit          what operators changed before
    """

    kind: ExpiryKind
    before: float
    now: float
    limit: int = 200
    log_kind: LogKind | None = None


def check_expiry(command: Expire) -> None:
    """Raises InvalidRequest for keys that clients may still repeat, turns that these name, and logs of no kind."""
    if command.kind in ("idempotency", "messages") and command.before > command.now - IDEMPOTENCY_KEPT_S:
        raise InvalidRequest("idempotency keys and messages are kept for a day", field="before")
    if (command.kind == "logs") != (command.log_kind is not None):
        raise InvalidRequest("logs expire by their kind, and nothing else does", field="log_kind")


class TryElect(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether `instance` holds `name` for `lease_s` of the journal's own time. Asked again, it renews."""

    name: str
    instance: str
    lease_s: float


# Questions


class GetStamp(msgspec.Struct, frozen=True, kw_only=True):
    """→ Stamp | None."""

    conversation_id: str
    owner: Owner


class GetState(msgspec.Struct, frozen=True, kw_only=True):
    """→ StoredState | None, as of one moment, with the newest `recent` messages."""

    conversation_id: str
    owner: Owner
    recent: int


class StoredState(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is empty while the version is 0; `messages` are oldest first."""

    stamp: Stamp
    body: bytes
    messages: tuple[Message, ...]


class ReadProfile(msgspec.Struct, frozen=True, kw_only=True):
    """→ VersionedProfile. `known` is the version that an acceptance or grant told, for tiers that may have it."""

    owner: Owner
    known: int | None = None


class VersionedProfile(msgspec.Struct, frozen=True, kw_only=True):
    """An empty profile of version 0 when nothing was stored. Whoever writes one raises its version."""

    version: int
    profile: Profile


class GetConsents(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Consent, ...]: the latest of each kind, by kind."""

    owner: Owner
