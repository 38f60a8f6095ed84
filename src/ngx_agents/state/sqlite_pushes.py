"""The outbox on SQLite: who sends what next, and what became of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.state import push_commands as p
from ngx_agents.state.model import Owner
from ngx_agents.state.task_commands import PushConfig
from ngx_agents.state.webhook_commands import STANDING

Connection = sqlite3.Connection
_encode = msgspec.json.Encoder().encode
_DUE = """
WITH held AS (
  SELECT value ->> 0 AS tenant, value ->> 1 AS user, value ->> 2 AS count FROM json_each(:held)
), due AS (
  SELECT o.number, o.due_at, coalesce((SELECT count FROM held h WHERE h.tenant = o.tenant AND h.user = o.user), 0)
    + row_number() OVER (PARTITION BY o.tenant, o.user ORDER BY o.due_at, o.number) AS place
  FROM outbox o
  WHERE o.dead_reason IS NULL AND o.due_at <= :now AND o.claimed_until <= :now AND NOT EXISTS (
    SELECT 1 FROM outbox b WHERE b.subject = o.subject AND b.webhook_id = o.webhook_id AND b.dead_reason IS NULL
      AND b.number < o.number)
)
SELECT number FROM due WHERE place <= :per_owner ORDER BY place, due_at, number LIMIT :limit
"""
_TAKEN = """
SELECT o.number, o.tenant, o.user, o.kind, o.subject, o.webhook_id, o.url, o.body, o.turn_id, o.status, o.content,
  o.is_last, o.at, o.step, o.attempts, t.agent
FROM outbox o LEFT JOIN turn t ON t.id = o.subject WHERE o.number = ?
"""


def add_post(db: Connection, command: p.AddPost) -> None:
    db.execute(
        "INSERT INTO outbox (tenant, user, kind, subject, webhook_id, url, body, content, is_last, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?)",
        (
            command.owner.tenant,
            command.owner.user,
            command.kind,
            command.subject,
            command.webhook_id,
            command.url,
            command.body,
            command.content,
            command.now,
        ),
    )


def _claim(db: Connection, command: p.ClaimPushes) -> tuple[p.DuePush, ...]:
    held = _encode([(owner.tenant, owner.user, count) for owner, count in command.held]).decode()
    values = {"now": command.now, "limit": command.limit, "per_owner": command.per_owner, "held": held}
    numbers = db.execute(_DUE, values).fetchall()
    db.executemany(
        "UPDATE outbox SET claimed_by = ?, claimed_until = ? WHERE number = ?",
        [(command.instance, command.now + command.lease_s, number) for (number,) in numbers],
    )
    return tuple(due_push(db.execute(_TAKEN, row).fetchone()) for row in numbers)


def due_push(row: Any) -> p.DuePush:
    """From the columns of `_TAKEN`, in that order."""
    return p.DuePush(
        number=row[0], owner=Owner(row[1], row[2]), kind=row[3], subject=row[4], turn_id=row[8], status=row[9],
        content=row[10], is_last=bool(row[11]), at=row[12], step=row[13], attempts=row[14], agent=row[15],
        config=PushConfig(id=row[5], url=row[6], body=row[7], created_at=row[12]),
    )  # fmt: skip


def _settle(db: Connection, command: p.SettlePush) -> None:
    mine = (command.number, command.instance)
    match command.verdict:
        case "sent":
            db.execute("DELETE FROM outbox WHERE number = ? AND claimed_by = ?", mine)
        case "disabled":
            _disable(db, command)
        case "later" | "dead":
            db.execute(
                "UPDATE outbox SET step = ?3, attempts = ?4, due_at = ?5, dead_reason = ?6, claimed_by = NULL,"
                " claimed_until = 0 WHERE number = ?1 AND claimed_by = ?2",
                (*mine, command.step, command.attempts, command.due_at, dead_reason(command)),
            )


def dead_reason(command: p.SettlePush) -> str | None:
    return command.reason if command.verdict == "dead" else None


def _disable(db: Connection, command: p.SettlePush) -> None:
    row = db.execute(
        "SELECT subject, webhook_id, kind, tenant, user FROM outbox WHERE number = ? AND claimed_by = ?",
        (command.number, command.instance),
    ).fetchone()
    if row is None:
        return
    subject, webhook_id, kind, *who = row
    if kind == STANDING:
        db.execute(
            "UPDATE webhook SET disabled_at = ?1 WHERE subject = ?2 AND id = ?2 AND tenant = ?3 AND user = ?4",
            (command.now, webhook_id, *who),
        )
        db.execute(
            "DELETE FROM outbox WHERE webhook_id = ? AND tenant = ? AND user = ? AND kind = ?", (webhook_id, *who, kind)
        )
    else:
        db.execute(
            "UPDATE webhook SET disabled_at = ? WHERE subject = ? AND id = ?", (command.now, subject, webhook_id)
        )
        db.execute("DELETE FROM outbox WHERE subject = ? AND webhook_id = ?", (subject, webhook_id))


def _list_dead(db: Connection, question: p.ListDeadPushes) -> tuple[p.DeadPush, ...]:
    rows = db.execute(
        "SELECT number, tenant, user, kind, subject, webhook_id, url, status, attempts, dead_reason, at"
        " FROM outbox WHERE dead_reason IS NOT NULL ORDER BY at DESC, number DESC LIMIT ?",
        (question.limit,),
    ).fetchall()
    return tuple(dead_push(row) for row in rows)


def dead_push(row: Any) -> p.DeadPush:
    return p.DeadPush(
        number=row[0], owner=Owner(row[1], row[2]), kind=row[3], subject=row[4], webhook_id=row[5], url=row[6],
        status=row[7], attempts=row[8], reason=row[9], at=row[10],
    )  # fmt: skip


def _replay(db: Connection, command: p.ReplayPush) -> bool:
    return (
        db.execute(
            "UPDATE outbox SET dead_reason = NULL, attempts = 0, due_at = ? WHERE number = ?"
            " AND tenant = ? AND user = ? AND dead_reason IS NOT NULL",
            (command.now, command.number, command.owner.tenant, command.owner.user),
        ).rowcount
        > 0
    )


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    p.AddPost: add_post,
    p.ClaimPushes: _claim,
    p.SettlePush: _settle,
    p.ReplayPush: _replay,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {p.ListDeadPushes: _list_dead}
