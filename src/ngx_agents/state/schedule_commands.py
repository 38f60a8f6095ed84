"""What the journal is told and asked about schedules: messages that are sent by themselves. Part of `commands`.

A schedule has the time at which it is due next. Firing it makes the turn and moves that time on in one transaction, and
only if the time is still the one that was seen: however many instances see it, one turn comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ngx_agents.state.model import Owner

if TYPE_CHECKING:
    from ngx_agents.state.commands import Grant


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """`at` is a local time `HH:MM` on `weekdays` (1 Monday to 7 Sunday) in the IANA time zone `zone`.

    `next_at` is when it is due next. Of the last time that it was sent: when that was due, when it was sent, which turn
    it made. `skipped` counts the times that passed without a turn.
    """

    id: str
    owner: Owner
    at: str
    weekdays: tuple[int, ...]
    zone: str
    text: str
    conversation_id: str
    created_at: float
    next_at: float
    agent: str | None = None
    locale: str | None = None
    is_paused: bool = False
    last_due_at: float | None = None
    last_run_at: float | None = None
    last_turn_id: str | None = None
    skipped: int = 0


class PutSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """→ None. A new one, or what the owner changed of one; what was sent already stays.

    Raises QuotaExceeded when it is new and the owner has `max_schedules`.
    """

    schedule: Schedule
    max_schedules: int

    @property
    def owner(self) -> Owner:
        return self.schedule.owner


class DeleteSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """→ bool: whether it was there."""

    id: str
    owner: Owner


class FireSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """→ Fired | None: None when it is not due at `seen_at` any more, or another instance is at it.

    `due_at` is the time it is sent for, `next_at` the one after; `skipped` passed before it. The turn waits in its
    conversation, which is made again if it was deleted. Raises Overloaded (too many waiting).
    """

    id: str
    owner: Owner
    seen_at: float
    due_at: float
    next_at: float
    skipped: int
    turn_id: str
    turn_class: int
    instance: str
    now: float
    deadline_at: float


class Fired(msgspec.Struct, frozen=True, kw_only=True):
    """`grant` is None when the turn waits behind others of its conversation."""

    grant: Grant | None


class GetSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """→ Schedule | None."""

    id: str
    owner: Owner


class ListSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Schedule, ...], oldest first."""

    owner: Owner


class DueSchedules(msgspec.Struct, frozen=True, kw_only=True):
    """→ tuple[Schedule, ...] of any owner that are due and not paused, longest due first, after the place `after`."""

    now: float
    limit: int
    after: tuple[float, str] = (0.0, "")
