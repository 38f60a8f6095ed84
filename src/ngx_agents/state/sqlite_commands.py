"""How each command is applied to SQLite, inside the writer's transaction.

Every function checks before its first write, so that a typed refusal leaves nothing behind and its neighbours in the
batch need no savepoint. All turn writes match the granted epoch in the conversation's row, which is written first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.errors import ConversationBusy, IdempotencyConflict, LeaseLost, NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.governance import completed
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_blobs import APPLY as BLOBS
from ngx_agents.state.sqlite_budgets import APPLY as BUDGETS
from ngx_agents.state.sqlite_erasure import forget_conversation
from ngx_agents.state.sqlite_expiry import APPLY as EXPIRY
from ngx_agents.state.sqlite_governance import APPLY as GOVERNANCE
from ngx_agents.state.sqlite_governance import write_audit
from ngx_agents.state.sqlite_pushes import APPLY as PUSHES
from ngx_agents.state.sqlite_schedules import APPLY as SCHEDULES
from ngx_agents.state.sqlite_states import APPLY as STATES
from ngx_agents.state.sqlite_tasks import APPLY as TASKS
from ngx_agents.state.sqlite_turns import AGEING_S_PER_CLASS, accept_turn, finish_turn, request_cancel
from ngx_agents.state.sqlite_user_batches import APPLY as BATCHES
from ngx_agents.state.sqlite_user_batches import erase_batches
from ngx_agents.state.sqlite_webhooks import APPLY as WEBHOOKS
from ngx_agents.state.state_commands import next_version

Connection = sqlite3.Connection
encode_json = msgspec.json.Encoder().encode
_encode_profile = msgspec.msgpack.Encoder().encode
_OF_USER = (
    "artifact", "idempotency", "log", "profile", "blob", "consent", "outbox", "webhook", "schedule", "conversation"
)  # fmt: skip


def apply(db: Connection, command: c.Command) -> Any:
    """The command's result. Raises its typed errors, having written nothing."""
    return _APPLY[type(command)](db, command)


def _create_conversation(db: Connection, command: c.CreateConversation) -> None:
    db.execute(
        "INSERT INTO conversation (id, tenant, user, title, created_at, updated_at, is_listed)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6)",
        (command.id, command.owner.tenant, command.owner.user, command.title, command.now, command.is_listed),
    )


def _refuse_if_busy(db: Connection, conversation_id: str) -> None:
    row = db.execute(
        "SELECT id FROM turn WHERE conversation_id = ? AND status IN ('queued', 'running') LIMIT 1", (conversation_id,)
    ).fetchone()
    if row is not None:
        raise ConversationBusy(row[0])


def _owned(db: Connection, conversation_id: str, owner: Owner) -> bool:
    row = db.execute(
        "SELECT 1 FROM conversation WHERE id = ? AND tenant = ? AND user = ?",
        (conversation_id, owner.tenant, owner.user),
    ).fetchone()
    return row is not None


def _delete_conversation(db: Connection, command: c.DeleteConversation) -> bool:
    if not _owned(db, command.id, command.owner):
        return False
    _refuse_if_busy(db, command.id)
    turns = "SELECT turn_id FROM message WHERE conversation_id = ?"
    db.execute(f"DELETE FROM artifact WHERE turn_id IN ({turns})", (command.id,))
    forget_conversation(db, command.id)
    return True


def _import_messages(db: Connection, command: c.ImportMessages) -> None:
    if not _owned(db, command.conversation_id, command.owner):
        raise NotFound("no such conversation")
    _refuse_if_busy(db, command.conversation_id)
    (first,) = db.execute(
        "UPDATE conversation SET next_turn = next_turn + ?, updated_at = ? WHERE id = ? RETURNING next_turn",
        (len(command.messages), command.now, command.conversation_id),
    ).fetchone()
    first -= len(command.messages)
    db.executemany(
        "INSERT INTO message (conversation_id, seq, id, role, text, created_at, turn_id, agent, source)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                command.conversation_id,
                2 * (first + offset) - (message.role == "user"),
                message.id,
                message.role,
                message.text,
                message.created_at,
                "",
                message.agent,
                message.source,
            )
            for offset, message in enumerate(command.messages)
        ],
    )


def _refuse_stale(db: Connection, conversation_id: str, turn_id: str, epoch: int) -> None:
    held = db.execute(
        "UPDATE conversation SET epoch = epoch WHERE id = ? AND epoch = ? AND running = ? RETURNING 1",
        (conversation_id, epoch, turn_id),
    ).fetchone()
    if held is None:
        raise LeaseLost(f"turn {turn_id} was granted to another owner")


def _save_checkpoint(db: Connection, command: c.SaveCheckpoint) -> None:
    _refuse_stale(db, command.conversation_id, command.turn_id, command.epoch)
    db.execute(
        "INSERT OR REPLACE INTO checkpoint (turn_id, key, value) VALUES (?, ?, ?)",
        (command.turn_id, command.key, command.value),
    )


def _record_effect(db: Connection, command: c.RecordEffect) -> str | None:
    _refuse_stale(db, command.conversation_id, command.turn_id, command.epoch)
    row = db.execute(
        "SELECT state FROM effect WHERE turn_id = ? AND key = ?", (command.turn_id, command.key)
    ).fetchone()
    if row is None or command.state != "intended":
        db.execute(
            "INSERT OR REPLACE INTO effect (turn_id, key, state, result, changed_at) VALUES (?, ?, ?, ?, ?)",
            (command.turn_id, command.key, command.state, command.result, command.now),
        )
    return row[0] if row else None


def _release_lane(db: Connection, command: c.ReleaseLane) -> None:
    db.execute(
        "UPDATE conversation SET lane_owner = NULL WHERE id = ? AND epoch = ?",
        (command.conversation_id, command.epoch),
    )


def _put_profile(db: Connection, command: c.PutProfile) -> None:
    db.execute(
        "INSERT INTO profile (tenant, user, body, updated_at, version) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (tenant, user) DO UPDATE SET body = excluded.body, updated_at = excluded.updated_at,"
        " version = max(version + 1, excluded.version)",
        (
            command.owner.tenant,
            command.owner.user,
            _encode_profile(command.profile),
            command.now,
            next_version(0, command.now),
        ),
    )


def _add_log(db: Connection, command: c.AddLog) -> bool:
    if command.lease is not None:
        _refuse_stale(db, *command.lease)
    entry = command.entry
    if command.is_keyed:
        start = entry.id[: c.KEYED_CHARS]
        row = db.execute(
            "SELECT id FROM log WHERE tenant = ? AND user = ? AND id >= ? AND id < ? LIMIT 1",
            (command.owner.tenant, command.owner.user, start, f"{start}~"),
        ).fetchone()
        if row is not None and row[0] != entry.id:
            raise IdempotencyConflict("the key was used with another body")
    added = db.execute(
        "INSERT OR IGNORE INTO log (tenant, user, id, kind, at, data) VALUES (?, ?, ?, ?, ?, ?) RETURNING 1",
        (command.owner.tenant, command.owner.user, entry.id, entry.kind, entry.at, encode_json(entry.data)),
    ).fetchone()
    return added is not None


def _put_key(db: Connection, command: c.PutKey) -> None:
    key = command.key
    db.execute(
        "INSERT OR REPLACE INTO api_key (id, digest, tenant, user, roles, created_at, revoked_at, name, agents,"
        " expires_at, last_used_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            key.id,
            key.digest,
            key.owner.tenant,
            key.owner.user,
            " ".join(key.roles),
            key.created_at,
            key.revoked_at,
            key.name,
            " ".join(key.agents),
            key.expires_at,
            key.last_used_at,
        ),
    )


def _revoke_key(db: Connection, command: c.RevokeKey) -> bool:
    row = db.execute(
        "UPDATE api_key SET revoked_at = coalesce(revoked_at, ?) WHERE digest = ? RETURNING 1",
        (command.now, command.digest),
    ).fetchone()
    return row is not None


def _end_key(db: Connection, command: c.EndKey) -> None:
    row = db.execute(
        "UPDATE api_key SET expires_at = min(coalesce(expires_at, ?1), ?1)"
        " WHERE digest = ?2 AND revoked_at IS NULL RETURNING 1",
        (command.at, command.digest),
    ).fetchone()
    if row is None:
        raise NotFound("there is no such key, or it is revoked")


def _touch_key(db: Connection, command: c.TouchKey) -> None:
    db.execute(
        "UPDATE api_key SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE digest = ?",
        (command.at, command.digest),
    )


def _erase_user(db: Connection, command: c.EraseUser) -> dict[str, int]:
    who = (command.owner.tenant, command.owner.user)
    busy = db.execute(
        "SELECT id FROM conversation WHERE tenant = ? AND user = ? AND pending > 0 LIMIT 1", who
    ).fetchone()
    if busy is not None:
        _refuse_if_busy(db, busy[0])
    mine = "tenant = ? AND user = ?"
    turns = f"SELECT turn_id FROM message WHERE conversation_id IN (SELECT id FROM conversation WHERE {mine})"
    erased = {}
    for table in ("checkpoint", "effect"):
        erased[table] = db.execute(f"DELETE FROM {table} WHERE turn_id IN ({turns})", who).rowcount
    erased["turn"] = db.execute(f"DELETE FROM turn WHERE id IN ({turns})", who).rowcount
    cursor = db.execute(f"DELETE FROM message WHERE conversation_id IN (SELECT id FROM conversation WHERE {mine})", who)
    erased["message"] = cursor.rowcount
    states = f"DELETE FROM state WHERE conversation_id IN (SELECT id FROM conversation WHERE {mine})"
    erased["state"] = db.execute(states, who).rowcount
    for table in _OF_USER:
        erased[table] = db.execute(f"DELETE FROM {table} WHERE {mine}", who).rowcount
    erased["batch"] = erase_batches(db, command.owner)
    return erased


def _replay_turn(db: Connection, command: c.ReplayTurn) -> None:
    row = db.execute(
        "UPDATE turn SET status = 'queued', attempts = 0, cancel_requested = 0, answer = NULL, finished_at = NULL,"
        " deadline_at = ? WHERE id = ? AND status = 'dead' RETURNING conversation_id, number, turn_class",
        (command.deadline_at, command.turn_id),
    ).fetchone()
    if row is None:
        raise NotFound("no such dead turn")
    conversation_id, number, turn_class = row
    db.execute("DELETE FROM message WHERE conversation_id = ? AND seq = ?", (conversation_id, 2 * number))
    db.execute(
        "UPDATE conversation SET pending = pending + 1,"
        " sort_key = CASE WHEN pending = 0 THEN ?1 ELSE min(sort_key, ?1) END WHERE id = ?2",
        (command.now + turn_class * AGEING_S_PER_CLASS, conversation_id),
    )


def _beat(db: Connection, command: c.Beat) -> bool:
    """Always valid: the file's lock lets one incarnation in, and it lives as long as it holds that."""
    return True


def _leave(db: Connection, command: c.Leave) -> None:
    """Whoever opens the file next may claim every lane anyway."""


def _audited(db: Connection, command: c.Audited) -> Any:
    result = apply(db, command.command)
    write_audit(db, completed(command.entry, result))
    return result


_APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    c.CreateConversation: _create_conversation,
    c.DeleteConversation: _delete_conversation,
    c.ImportMessages: _import_messages,
    c.AcceptTurn: accept_turn,
    c.FinishTurn: finish_turn,
    c.SaveCheckpoint: _save_checkpoint,
    c.RecordEffect: _record_effect,
    c.RequestCancel: request_cancel,
    c.ReleaseLane: _release_lane,
    c.PutProfile: _put_profile,
    c.AddLog: _add_log,
    c.PutKey: _put_key,
    c.RevokeKey: _revoke_key,
    c.EndKey: _end_key,
    c.TouchKey: _touch_key,
    c.EraseUser: _erase_user,
    c.Beat: _beat,
    c.Leave: _leave,
    c.ReplayTurn: _replay_turn,
    **STATES,
    **BLOBS,
    **EXPIRY,
    **GOVERNANCE,
    **BUDGETS,
    c.Audited: _audited,
    **BATCHES,
    **SCHEDULES,
    **TASKS,
    **PUSHES,
    **WEBHOOKS,
}
