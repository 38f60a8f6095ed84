"""Schedules on SQLite. As everywhere in the writer, each function checks before its first write."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import QuotaExceeded
from ngx_agents.state import commands as c
from ngx_agents.state import schedule_commands as s
from ngx_agents.state.model import Owner
from ngx_agents.state.schedules import acceptance, anew, told_of_firing, weekdays_read, weekdays_stored
from ngx_agents.state.sqlite_turns import accept_turn
from ngx_agents.state.sqlite_webhooks import note_event
from ngx_agents.state.user_batches import grant_of

Connection = sqlite3.Connection
_SCHEDULE = """
SELECT id, tenant, user, at, weekdays, zone, text, conversation_id, created_at, next_at, agent, locale, is_paused,
  last_due_at, last_run_at, last_turn_id, skipped FROM schedule
"""
_PUT = """
INSERT INTO schedule (id, tenant, user, at, weekdays, zone, text, conversation_id, created_at, next_at, agent, locale,
  is_paused) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET at = excluded.at, weekdays = excluded.weekdays, zone = excluded.zone,
  text = excluded.text, conversation_id = excluded.conversation_id, next_at = excluded.next_at, agent = excluded.agent,
  locale = excluded.locale, is_paused = excluded.is_paused
WHERE schedule.tenant = excluded.tenant AND schedule.user = excluded.user
"""


def _schedule(row: Any) -> s.Schedule:
    return s.Schedule(
        id=row[0], owner=Owner(row[1], row[2]), at=row[3], weekdays=weekdays_read(row[4]), zone=row[5], text=row[6],
        conversation_id=row[7], created_at=row[8], next_at=row[9], agent=row[10], locale=row[11],
        is_paused=bool(row[12]), last_due_at=row[13], last_run_at=row[14], last_turn_id=row[15], skipped=row[16],
    )  # fmt: skip


def _put(db: Connection, command: s.PutSchedule) -> None:
    one = command.schedule
    who = (one.owner.tenant, one.owner.user)
    (others,) = db.execute(
        "SELECT count(*) FROM schedule WHERE tenant = ? AND user = ? AND id <> ?", (*who, one.id)
    ).fetchone()
    if others >= command.max_schedules:
        raise QuotaExceeded(f"{command.max_schedules} schedules are there already", retry_after_s=3600.0)
    db.execute(
        _PUT,
        (
            one.id, *who, one.at, weekdays_stored(one.weekdays), one.zone, one.text, one.conversation_id,
            one.created_at, one.next_at, one.agent, one.locale, one.is_paused,
        ),
    )  # fmt: skip


def _delete(db: Connection, command: s.DeleteSchedule) -> bool:
    return (
        db.execute(
            "DELETE FROM schedule WHERE id = ? AND tenant = ? AND user = ?",
            (command.id, command.owner.tenant, command.owner.user),
        ).rowcount
        > 0
    )


def _fire(db: Connection, command: s.FireSchedule) -> c.Fired | None:
    row = db.execute(
        f"{_SCHEDULE} WHERE id = ? AND tenant = ? AND user = ? AND next_at = ? AND is_paused = 0",
        (command.id, command.owner.tenant, command.owner.user, command.seen_at),
    ).fetchone()
    if row is None:
        return None
    told = acceptance(command, _schedule(row))
    if db.execute("SELECT 1 FROM conversation WHERE id = ?", (told.conversation_id,)).fetchone() is None:
        made = anew(told)
        db.execute(
            "INSERT INTO conversation (id, tenant, user, title, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            (made.id, made.owner.tenant, made.owner.user, made.title, made.now, made.now),
        )
    accepted = accept_turn(db, told)
    db.execute(
        "UPDATE schedule SET next_at = ?, last_due_at = ?, last_run_at = ?, last_turn_id = ?, skipped = skipped + ?"
        " WHERE id = ?",
        (command.next_at, command.due_at, command.now, command.turn_id, command.skipped, command.id),
    )
    note_event(db, command.owner, "schedule.sent", subject=command.id, data=told_of_firing(command), now=command.now)
    return c.Fired(grant=grant_of(told, accepted) if accepted.epoch is not None else None)


def _get(db: Connection, question: s.GetSchedule) -> s.Schedule | None:
    row = db.execute(
        f"{_SCHEDULE} WHERE id = ? AND tenant = ? AND user = ?",
        (question.id, question.owner.tenant, question.owner.user),
    ).fetchone()
    return _schedule(row) if row else None


def _list(db: Connection, question: s.ListSchedules) -> tuple[s.Schedule, ...]:
    rows = db.execute(
        f"{_SCHEDULE} WHERE tenant = ? AND user = ? ORDER BY created_at, id",
        (question.owner.tenant, question.owner.user),
    )
    return tuple(_schedule(row) for row in rows)


def _due(db: Connection, question: s.DueSchedules) -> tuple[s.Schedule, ...]:
    rows = db.execute(
        f"{_SCHEDULE} WHERE is_paused = 0 AND next_at <= ? AND (next_at, id) > (?, ?) ORDER BY next_at, id LIMIT ?",
        (question.now, *question.after, question.limit),
    )
    return tuple(_schedule(row) for row in rows)


def export_schedules(db: Connection, owner: Owner) -> tuple[s.Schedule, ...]:
    return _list(db, s.ListSchedules(owner=owner))


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    s.PutSchedule: _put,
    s.DeleteSchedule: _delete,
    s.FireSchedule: _fire,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    s.GetSchedule: _get,
    s.ListSchedules: _list,
    s.DueSchedules: _due,
}
