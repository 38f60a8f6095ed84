"""Controls and the audit log on SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest, Overloaded
from ngx_agents.state import governance as g
from ngx_agents.state.model import Page
from ngx_agents.state.pages import page, place_of

Connection = sqlite3.Connection
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_CONTROL = "SELECT kind, id, body, number, changed_at FROM control"


def _control(row: tuple[Any, ...]) -> g.Control:
    return g.Control(kind=row[0], id=row[1], body=row[2], number=row[3], changed_at=row[4])


def _put_control(db: Connection, command: g.PutControl) -> g.Control | None:
    if len(command.body) > g.MAX_CONTROL_BYTES:
        raise InvalidRequest(f"more than {g.MAX_CONTROL_BYTES} bytes", field="body")
    row = db.execute(f"{_CONTROL} WHERE kind = ? AND id = ?", (command.kind, command.id)).fetchone()
    if row is None:
        (count,) = db.execute(
            "SELECT count(*) FROM control WHERE (kind = 'revocation') = (?1 = 'revocation')", (command.kind,)
        ).fetchone()
        if count >= g.most_of(command.kind) and not _forget_removed(db, command.now):
            raise Overloaded("there are too many controls", retry_after_s=3600.0)
    db.execute(
        "INSERT OR REPLACE INTO control (kind, id, body, number, changed_at)"
        " VALUES (?, ?, ?, (SELECT coalesce(max(number), 0) + 1 FROM control), ?)",
        (command.kind, command.id, command.body, command.now),
    )
    return _control(row) if row and row[2] else None


def _forget_removed(db: Connection, now_s: float) -> int:
    """How many rows of removed controls went. The row with the highest number stays: numbers are never given twice."""
    return db.execute(
        "DELETE FROM control WHERE body = x'' AND changed_at < ? AND number < (SELECT max(number) FROM control)",
        (now_s - g.REMOVED_KEPT_S,),
    ).rowcount


def _forget_revocations(db: Connection, command: g.ForgetRevocations) -> int:
    return db.execute(
        "DELETE FROM control WHERE kind = 'revocation' AND id IN (SELECT id FROM control WHERE kind = 'revocation'"
        " AND json_extract(CAST(body AS TEXT), '$.until') <= ?"
        " AND number < (SELECT max(number) FROM control) LIMIT ?)",
        (command.now, command.limit),
    ).rowcount


def write_audit(db: Connection, entry: g.AuditEntry) -> None:
    db.execute(
        "INSERT OR IGNORE INTO audit (id, at, actor, action, target, before, after) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (entry.id, entry.at, entry.actor, entry.action, entry.target, _json(entry.before), _json(entry.after)),
    )


def _json(value: dict[str, Any] | None) -> bytes | None:
    return None if value is None else _encode(value)


def _entry(row: tuple[Any, ...]) -> g.AuditEntry:
    before, after = (None if one is None else _decode(one) for one in row[5:7])
    return g.AuditEntry(
        id=row[0], at=row[1], actor=row[2], action=row[3], target=row[4], before=before, after=after
    )  # fmt: skip


def _list_controls(db: Connection, question: g.ListControls) -> tuple[g.Control, ...]:
    rows = db.execute(
        f"{_CONTROL} WHERE number > ? ORDER BY number LIMIT ?", (question.after, question.limit)
    ).fetchall()
    return tuple(_control(row) for row in rows)


def _list_audit(db: Connection, question: g.ListAudit) -> Page:
    place = place_of(question.cursor) or (float("inf"), "~")
    rows = db.execute(
        "SELECT id, at, actor, action, target, before, after FROM audit WHERE (at, id) < (?, ?)"
        " AND (?3 IS NULL OR target = ?3) ORDER BY at DESC, id DESC LIMIT ?4",
        (*place, question.target, question.limit + 1),
    ).fetchall()
    return page([_entry(row) for row in rows], question.limit, lambda item: (item.at, item.id))


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    g.PutControl: _put_control,
    g.ForgetRevocations: _forget_revocations,
    g.WriteAudit: lambda db, command: write_audit(db, command.entry),
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {g.ListControls: _list_controls, g.ListAudit: _list_audit}
