"""Rows of the Postgres journal while a batch works on them, and what a value must be to fit in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ngx_agents.state.model import Owner

Key: TypeAlias = tuple[str, str, str]
"""Tenant, user, idempotency key."""
NO_SHARD = -1


def shard_in(any_id: str) -> int:
    """The shard an id carries; NO_SHARD, where nothing is, for what is no id of ours."""
    try:
        return int(any_id[2:4], 16)
    except ValueError:
        return NO_SHARD


def storable(text: str) -> str:
    """The text as Postgres can hold it: without NUL and lone surrogates, which become U+FFFD."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@dataclass(slots=True, kw_only=True)
class OpenTurn:
    """A turn that is queued or running. `text` is None until it was read."""

    id: str
    number: int
    turn_class: int
    accepted_at: float
    deadline_at: float
    attempts: int = 0
    is_running: bool = False
    cancel_requested: bool = False
    agent: str | None = None
    locale: str | None = None
    attachments: tuple[str, ...] = ()
    text: str | None = None
    task: tuple[str | None, str | None, bytes | None] = (None, None, None)
    is_watched: bool = False
    trail: str | None = None


@dataclass(slots=True, kw_only=True)
class Lane:
    """One conversation's row. `open_turns` is None where it was not needed: see `postgres_lanes.needs_open_turns`.

    `profile_version` is its owner's: 0 when there is no profile, None where it was not asked for.
    """

    shard: int
    id: str
    owner: Owner
    title: str
    next_turn: int = 1
    pending: int = 0
    epoch: int = 0
    lane_owner: str | None = None
    running: str | None = None
    sort_key: float = 0.0
    created_at: float = 0.0
    updated_at: float = 0.0
    profile_version: int | None = None
    is_listed: bool = True
    open_turns: list[OpenTurn] | None = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class NewTurn:
    lane: Lane
    turn: OpenTurn
    epoch: int
    ended: TurnChange | None = None


@dataclass(slots=True, kw_only=True)
class TurnChange:
    """What is None stays as it is; `more_attempts` is added."""

    shard: int
    status: str | None = None
    epoch: int | None = None
    more_attempts: int = 0
    cancel_requested: bool | None = None
    answer: bytes | None = None
    finished_at: float | None = None
    last_seq: int | None = None
