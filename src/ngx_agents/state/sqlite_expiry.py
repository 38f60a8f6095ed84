"""Letting go of what has had its time, on SQLite: idempotency keys, finished turns' traces, old conversations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.state import state_commands as s
from ngx_agents.state.sqlite_erasure import forget_conversation
from ngx_agents.state.sqlite_retention import expire_artifacts, expire_attachments, expire_logs, expire_messages
from ngx_agents.state.sqlite_user_batches import expire_batches

Connection = sqlite3.Connection
_NOW = "((julianday('now') - 2440587.5) * 86400.0)"  # to the millisecond; SQLite's unixepoch knows whole seconds only


def _expire(db: Connection, command: s.Expire) -> int:
    s.check_expiry(command)
    return _EXPIRE[command.kind](db, command)


def _expire_keys(db: Connection, command: s.Expire) -> int:
    return db.execute(
        "DELETE FROM idempotency WHERE (tenant, user, key) IN"
        " (SELECT tenant, user, key FROM idempotency WHERE created_at < ? ORDER BY created_at LIMIT ?)",
        (command.before, command.limit),
    ).rowcount


def _expire_traces(db: Connection, command: s.Expire) -> int:
    gone = 0
    for table in ("effect", "checkpoint"):
        gone += db.execute(
            f"DELETE FROM {table} WHERE (turn_id, key) IN (SELECT x.turn_id, x.key FROM {table} x"
            " JOIN turn t ON t.id = x.turn_id WHERE t.finished_at < ?"
            " AND t.status IN ('completed', 'failed', 'cancelled') LIMIT ?)",
            (command.before, command.limit - gone),
        ).rowcount
    return gone


def _expire_conversations(db: Connection, command: s.Expire) -> int:
    rows = db.execute(
        "SELECT id FROM conversation WHERE updated_at < ? AND pending = 0 LIMIT ?", (command.before, command.limit)
    ).fetchall()
    for (conversation_id,) in rows:
        forget_conversation(db, conversation_id)
    return len(rows)


def _expire_audit(db: Connection, command: s.Expire) -> int:
    return db.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < ? ORDER BY at LIMIT ?)",
        (command.before, command.limit),
    ).rowcount


def _expire_dead_posts(db: Connection, command: s.Expire) -> int:
    return db.execute(
        "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE dead_reason IS NOT NULL AND at < ?"
        " ORDER BY at, number LIMIT ?)",
        (command.before, command.limit),
    ).rowcount


def _try_elect(db: Connection, command: s.TryElect) -> bool:
    row = db.execute(
        f"INSERT INTO election (name, instance, expires_at) VALUES (?1, ?2, {_NOW} + ?3)"
        " ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, expires_at = excluded.expires_at"
        f" WHERE election.instance = excluded.instance OR election.expires_at <= {_NOW} RETURNING 1",
        (command.name, command.instance, command.lease_s),
    ).fetchone()
    return row is not None


_EXPIRE: dict[s.ExpiryKind, Callable[[Connection, s.Expire], int]] = {
    "idempotency": _expire_keys,
    "turns": _expire_traces,
    "conversations": _expire_conversations,
    "batches": lambda db, command: expire_batches(db, before=command.before, limit=command.limit),
    "messages": expire_messages,
    "artifacts": expire_artifacts,
    "attachments": expire_attachments,
    "logs": expire_logs,
    "audit": _expire_audit,
    "outbox": _expire_dead_posts,
}
APPLY: dict[type, Callable[[Connection, Any], Any]] = {s.Expire: _expire, s.TryElect: _try_elect}
