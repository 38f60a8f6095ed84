"""The outbox of webhooks on SQLite: who sends what next, and what became of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.state import push_commands as p
from ngx_agents.state.model import Owner
from ngx_agents.state.task_commands import PushConfig

Connection = sqlite3.Connection
_DUE = """
SELECT o.number FROM push_outbox o
WHERE o.dead_reason IS NULL AND o.due_at <= :now AND o.claimed_until <= :now AND NOT EXISTS (
  SELECT 1 FROM push_outbox b WHERE b.task_id = o.task_id AND b.config_id = o.config_id AND b.dead_reason IS NULL
    AND b.number < o.number)
ORDER BY o.due_at, o.number LIMIT :limit
"""
_TAKEN = """
SELECT o.number, t.tenant, t.user, t.agent, o.task_id, o.turn_id, o.status, o.is_last, o.at, o.step, o.attempts,
  c.id, c.url, c.body, c.created_at, c.disabled_at
FROM push_outbox o JOIN turn t ON t.id = o.task_id
JOIN push_config c ON c.task_id = o.task_id AND c.id = o.config_id WHERE o.number = ?
"""


def _claim(db: Connection, command: p.ClaimPushes) -> tuple[p.DuePush, ...]:
    numbers = db.execute(_DUE, {"now": command.now, "limit": command.limit}).fetchall()
    db.executemany(
        "UPDATE push_outbox SET claimed_by = ?, claimed_until = ? WHERE number = ?",
        [(command.instance, command.now + command.lease_s, number) for (number,) in numbers],
    )
    return tuple(_due(db.execute(_TAKEN, row).fetchone()) for row in numbers)


def _due(row: tuple[Any, ...]) -> p.DuePush:
    return p.DuePush(
        number=row[0], owner=Owner(row[1], row[2]), agent=row[3], task_id=row[4], turn_id=row[5], status=row[6],
        is_last=bool(row[7]), at=row[8], step=row[9], attempts=row[10],
        config=PushConfig(id=row[11], url=row[12], body=row[13], created_at=row[14], disabled_at=row[15]),
    )  # fmt: skip


def _settle(db: Connection, command: p.SettlePush) -> None:
    mine = (command.number, command.instance)
    match command.verdict:
        case "sent":
            db.execute("DELETE FROM push_outbox WHERE number = ? AND claimed_by = ?", mine)
        case "disabled":
            _disable(db, command)
        case "later" | "dead":
            db.execute(
                "UPDATE push_outbox SET step = ?3, attempts = ?4, due_at = ?5, dead_reason = ?6, claimed_by = NULL,"
                " claimed_until = 0 WHERE number = ?1 AND claimed_by = ?2",
                (*mine, command.step, command.attempts, command.due_at, _reason(command)),
            )


def _reason(command: p.SettlePush) -> str | None:
    return command.reason if command.verdict == "dead" else None


def _disable(db: Connection, command: p.SettlePush) -> None:
    row = db.execute(
        "SELECT task_id, config_id FROM push_outbox WHERE number = ? AND claimed_by = ?",
        (command.number, command.instance),
    ).fetchone()
    if row is not None:
        db.execute("UPDATE push_config SET disabled_at = ? WHERE task_id = ? AND id = ?", (command.now, *row))
        db.execute("DELETE FROM push_outbox WHERE task_id = ? AND config_id = ?", row)


def _list_dead(db: Connection, question: p.ListDeadPushes) -> tuple[p.DeadPush, ...]:
    rows = db.execute(
        "SELECT o.number, t.tenant, t.user, o.task_id, o.config_id, c.url, o.status, o.attempts, o.dead_reason, o.at"
        " FROM push_outbox o JOIN turn t ON t.id = o.task_id"
        " JOIN push_config c ON c.task_id = o.task_id AND c.id = o.config_id"
        " WHERE o.dead_reason IS NOT NULL ORDER BY o.number DESC LIMIT ?",
        (question.limit,),
    ).fetchall()
    return tuple(
        p.DeadPush(
            number=row[0], owner=Owner(row[1], row[2]), task_id=row[3], config_id=row[4], url=row[5], status=row[6],
            attempts=row[7], reason=row[8], at=row[9],
        )
        for row in rows
    )  # fmt: skip


def _replay(db: Connection, command: p.ReplayPush) -> bool:
    return (
        db.execute(
            "UPDATE push_outbox SET dead_reason = NULL, attempts = 0, due_at = ? WHERE number = ?"
            " AND dead_reason IS NOT NULL",
            (command.now, command.number),
        ).rowcount
        > 0
    )


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    p.ClaimPushes: _claim,
    p.SettlePush: _settle,
    p.ReplayPush: _replay,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {p.ListDeadPushes: _list_dead}
