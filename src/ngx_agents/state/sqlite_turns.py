"""Accepting, granting, finishing and cancelling turns on SQLite: the lane's statements.

A lane is the conversation's row: `pending` turns, the `running` one, its `lane_owner`, and the last granted `epoch`.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from ngx_agents.errors import (
    ConversationBusy,
    IdempotencyConflict,
    JournalError,
    LeaseLost,
    NotFound,
    Overloaded,
    TurnFinished,
)
from ngx_agents.state import commands as c
from ngx_agents.state.model import Answer, Message, Owner
from ngx_agents.state.sqlite_tasks import add_push, refuse_unfit
from ngx_agents.state.task_columns import stands_alone, subject_of, task_columns

Connection = sqlite3.Connection
AGEING_S_PER_CLASS = 30.0
TITLE_CHARS = 80
COALESCED_CHARACTERS = 32_000
_encode = msgspec.json.Encoder().encode
_CANCELLED_WAITING = _encode(Answer(code="cancelled", message="cancelled before it started"))


def accept_turn(db: Connection, command: c.AcceptTurn) -> c.Accepted:
    """Stores key, message and turn; grants the lane when it is free."""
    if command.idempotency_key is not None:
        known = _known_turn(db, command)
        if known is not None:
            return known
    if command.task is not None:
        refuse_unfit(db, command, command.task)
    is_patient = command.when_busy == "enqueue"
    accepted = _append_turn(db, command, None) if is_patient else _accept_busy(db, command)
    if command.idempotency_key is not None:
        _remember_key(db, command, accepted.turn_id)
    return accepted


def _accept_busy(db: Connection, command: c.AcceptTurn) -> c.Accepted:
    running, waiting = _busy(db, command)
    if running is not None and command.when_busy == "reject":
        raise ConversationBusy(running)
    if waiting is not None and command.when_busy == "coalesce" and stands_alone(command):
        coalesced = _coalesce(db, command, waiting)
        if coalesced is not None:
            return coalesced
    interrupt = running if command.when_busy == "interrupt" else None
    accepted = _append_turn(db, command, interrupt)
    if interrupt is not None:
        db.execute("UPDATE turn SET cancel_requested = 1 WHERE id = ?", (interrupt,))
    return accepted


def _known_turn(db: Connection, command: c.AcceptTurn) -> c.Accepted | None:
    row = db.execute(
        "SELECT hash, turn_id FROM idempotency WHERE tenant = ? AND user = ? AND key = ?",
        (command.owner.tenant, command.owner.user, command.idempotency_key),
    ).fetchone()
    if row is None:
        return None
    if row[0] != command.idempotency_hash:
        raise IdempotencyConflict("this idempotency key was used with another request")
    return c.Accepted(turn_id=row[1], position=0, replayed=True)


def _remember_key(db: Connection, command: c.AcceptTurn, turn_id: str) -> None:
    db.execute(
        "INSERT INTO idempotency (tenant, user, key, hash, turn_id, created_at) VALUES (?, ?, ?, ?, ?, ?)",
        (
            command.owner.tenant,
            command.owner.user,
            command.idempotency_key,
            command.idempotency_hash,
            turn_id,
            command.now,
        ),
    )


def _busy(db: Connection, command: c.AcceptTurn) -> tuple[str | None, str | None]:
    """(running or first open turn, last waiting turn)."""
    rows = db.execute(
        "SELECT t.id, t.status, v.running FROM turn t JOIN conversation v ON v.id = t.conversation_id"
        " WHERE t.conversation_id = ? AND t.status IN ('queued', 'running') AND v.tenant = ? AND v.user = ?"
        " ORDER BY t.number",
        (command.conversation_id, command.owner.tenant, command.owner.user),
    ).fetchall()
    waiting = [row[0] for row in rows if row[1] == "queued"]
    return (rows[0][2] or rows[0][0] if rows else None), (waiting[-1] if waiting else None)


def _coalesce(db: Connection, command: c.AcceptTurn, waiting: str) -> c.Accepted | None:
    """None when the waiting turn is of another kind, or its message would become too long: the text waits by itself.

    Another agent, class or task: what its caller may not reach, or what is owed to somebody else.
    """
    row = db.execute(
        "SELECT number FROM turn WHERE id = ? AND agent IS ? AND turn_class = ? AND attachments IS NULL"
        " AND task_id IS NULL AND watched = 0",
        (waiting, command.agent, command.turn_class),
    ).fetchone()
    if row is None:
        return None
    (number,) = row
    seq = 2 * number - 1
    fitted = db.execute(
        "UPDATE message SET text = text || char(10) || ?1 WHERE conversation_id = ?2 AND seq = ?3"
        " AND length(text) + length(?1) < ?4 RETURNING 1",
        (command.text, command.conversation_id, seq, COALESCED_CHARACTERS),
    ).fetchone()
    if fitted is None:
        return None
    return c.Accepted(
        turn_id=waiting, position=_position(db, command.conversation_id, number), user_seq=seq, coalesced=True
    )


def _position(db: Connection, conversation_id: str, number: int) -> int:
    (before,) = db.execute(
        "SELECT count(*) FROM turn WHERE conversation_id = ? AND status IN ('queued', 'running') AND number < ?",
        (conversation_id, number),
    ).fetchone()
    return int(before)


_TAKE_NUMBER = """
UPDATE conversation SET next_turn = next_turn + 1, pending = pending + 1, updated_at = :now,
  title = CASE WHEN title = '' THEN :title ELSE title END,
  sort_key = CASE WHEN pending = 0 THEN :sort_key ELSE min(sort_key, :sort_key) END,
  epoch = CASE WHEN pending = 0 AND :owner IS NOT NULL THEN epoch + 1 ELSE epoch END,
  lane_owner = CASE WHEN pending = 0 THEN :owner ELSE lane_owner END,
  running = CASE WHEN pending = 0 AND :owner IS NOT NULL THEN :turn_id ELSE running END
WHERE id = :id AND tenant = :tenant AND user = :user AND pending < :most
RETURNING next_turn - 1, pending - 1, epoch,
  (SELECT version FROM profile WHERE tenant = :tenant AND user = :user)
"""


def _append_turn(db: Connection, command: c.AcceptTurn, interrupt: str | None) -> c.Accepted:
    row = db.execute(
        _TAKE_NUMBER,
        {
            "now": command.now,
            "title": command.text[:TITLE_CHARS],
            "sort_key": command.now + command.behind_s + command.turn_class * AGEING_S_PER_CLASS,
            "owner": command.grant_to,
            "turn_id": command.turn_id,
            "id": command.conversation_id,
            "tenant": command.owner.tenant,
            "user": command.owner.user,
            "most": command.max_waiting + 1,
        },
    ).fetchone()
    if row is None:
        raise _why_refused(db, command)
    number, position, epoch, profile_version = row
    granted = position == 0 and command.grant_to is not None
    seq = 2 * number - 1
    if command.push is not None:
        add_push(db, subject_of(command), command.push)
    db.execute(
        "INSERT INTO turn (id, conversation_id, number, tenant, user, status, turn_class, accepted_at, deadline_at,"
        " locale, agent, attempts, epoch, attachments, task_id, context_id, task_message, watched, trail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            command.turn_id,
            command.conversation_id,
            number,
            command.owner.tenant,
            command.owner.user,
            "running" if granted else "queued",
            command.turn_class,
            command.now,
            command.deadline_at,
            command.locale,
            command.agent,
            1 if granted else 0,
            epoch if granted else 0,
            " ".join(command.attachments) or None,
            *task_columns(command),
            command.push is not None and command.push.kind == "turn",
            command.trail,
        ),
    )
    db.execute(
        "INSERT INTO message (conversation_id, seq, id, role, text, created_at, turn_id)"
        " VALUES (?, ?, ?, 'user', ?, ?, ?)",
        (command.conversation_id, seq, command.message_id, command.text, command.now, command.turn_id),
    )
    return c.Accepted(
        turn_id=command.turn_id,
        position=position,
        user_seq=seq,
        epoch=epoch if granted else None,
        interrupt=interrupt,
        profile_version=profile_version or 0,
    )


def _why_refused(db: Connection, command: c.AcceptTurn) -> Exception:
    row = db.execute(
        "SELECT 1 FROM conversation WHERE id = ? AND tenant = ? AND user = ?",
        (command.conversation_id, command.owner.tenant, command.owner.user),
    ).fetchone()
    if row is None:
        return NotFound("no such conversation")
    return Overloaded(f"{command.max_waiting} turns of this conversation are waiting", retry_after_s=5.0)


def grant_next(db: Connection, conversation_id: str, instance: str) -> c.Grant | None:
    """Grants the lane's first open turn to `instance`; None when nothing is open."""
    turn = db.execute(
        "SELECT id, number FROM turn WHERE conversation_id = ? AND status IN ('queued', 'running')"
        " ORDER BY number LIMIT 1",
        (conversation_id,),
    ).fetchone()
    if turn is None:
        return None
    turn_id, number = turn
    tenant, user, epoch, profile_version = db.execute(
        "UPDATE conversation SET lane_owner = ?, epoch = epoch + 1, running = ? WHERE id = ? RETURNING tenant, user,"
        " epoch, (SELECT p.version FROM profile p WHERE p.tenant = conversation.tenant AND p.user = conversation.user)",
        (instance, turn_id, conversation_id),
    ).fetchone()
    row = db.execute(
        "UPDATE turn SET status = 'running', attempts = attempts + 1, epoch = ? WHERE id = ?"
        " RETURNING attempts, turn_class, accepted_at, deadline_at, cancel_requested, agent, locale,"
        " attachments, trail",
        (epoch, turn_id),
    ).fetchone()
    (text,) = db.execute(
        "SELECT text FROM message WHERE conversation_id = ? AND seq = ?", (conversation_id, 2 * number - 1)
    ).fetchone()
    return c.Grant(
        conversation_id=conversation_id,
        owner=Owner(tenant, user),
        turn_id=turn_id,
        epoch=epoch,
        attempts=row[0],
        text=text,
        turn_class=row[1],
        accepted_at=row[2],
        deadline_at=row[3],
        user_seq=2 * number - 1,
        cancel_requested=bool(row[4]),
        agent=row[5],
        locale=row[6],
        profile_version=profile_version or 0,
        attachments=tuple((row[7] or "").split()),
        trail=row[8],
    )


def claim_lanes(db: Connection, *, limit: int, instance: str) -> list[c.Grant]:
    """Lanes with waiting turns that no one holds, or a former incarnation: one process has the file at a time."""
    ids = db.execute(
        "SELECT id FROM conversation WHERE pending > 0 AND lane_owner IS NOT ? ORDER BY sort_key LIMIT ?",
        (instance, limit),
    ).fetchall()
    grants = [grant_next(db, row[0], instance) for row in ids]
    return [grant for grant in grants if grant is not None]


def finish_turn(db: Connection, command: c.FinishTurn) -> c.Finished:
    """Writes everything a turn leaves and frees its lane, for the holder of the granted epoch only."""
    held = db.execute(
        "UPDATE conversation SET pending = pending - 1, lane_owner = NULL, running = NULL, updated_at = ?"
        " WHERE id = ? AND epoch = ? AND running = ? RETURNING pending",
        (command.now, command.conversation_id, command.epoch, command.turn_id),
    ).fetchone()
    if held is None:
        raise LeaseLost(f"turn {command.turn_id} was granted to another owner")
    answer = msgspec.structs.replace(command.answer, text="") if command.message is not None else command.answer
    db.execute(
        "UPDATE turn SET status = ?, answer = ?, finished_at = ?, last_seq = ? WHERE id = ?",
        (command.status, _encode(answer), command.now, command.last_seq, command.turn_id),
    )
    if command.message is not None:
        _insert_answer(db, command, command.message)
    if command.artifacts:
        _insert_artifacts(db, command)
    if command.has_checkpoints:
        db.execute("DELETE FROM checkpoint WHERE turn_id = ?", (command.turn_id,))
    following = _follow(db, command) if held[0] > 0 else None
    return c.Finished(message_seq=command.user_seq + 1 if command.message is not None else None, next=following)


def _insert_answer(db: Connection, command: c.FinishTurn, message: Message) -> None:
    db.execute(
        "INSERT INTO message (conversation_id, seq, id, role, text, created_at, turn_id, agent, source)"
        " VALUES (?, ?, ?, 'assistant', ?, ?, ?, ?, ?)",
        (
            command.conversation_id,
            command.user_seq + 1,
            message.id,
            message.text,
            message.created_at,
            command.turn_id,
            message.agent,
            message.source,
        ),
    )


def _insert_artifacts(db: Connection, command: c.FinishTurn) -> None:
    rows: list[tuple[Any, ...]] = [
        (
            a.id,
            command.owner.tenant,
            command.owner.user,
            command.turn_id,
            command.conversation_id,
            a.agent,
            a.kind,
            a.title,
            _encode(a.data),
            a.created_at,
            a.version,
        )
        for a in command.artifacts
    ]
    db.executemany(
        "INSERT INTO artifact (id, tenant, user, turn_id, conversation_id, agent, kind, title, data, created_at,"
        " version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _follow(db: Connection, command: c.FinishTurn) -> c.Grant | None:
    db.execute(
        "UPDATE conversation SET sort_key = coalesce((SELECT accepted_at + turn_class * ?2 FROM turn"
        " WHERE conversation_id = ?1 AND status = 'queued' ORDER BY number LIMIT 1), sort_key) WHERE id = ?1",
        (command.conversation_id, AGEING_S_PER_CLASS),
    )
    return grant_next(db, command.conversation_id, command.grant_to) if command.grant_to is not None else None


def request_cancel(db: Connection, command: c.RequestCancel) -> str:
    """A waiting turn ends here and now; a running one is marked, and its owner has to stop it."""
    row = db.execute(
        "SELECT status, conversation_id FROM turn WHERE id = ? AND tenant = ? AND user = ?",
        (command.turn_id, command.owner.tenant, command.owner.user),
    ).fetchone()
    if row is None:
        raise NotFound("no such turn")
    status, conversation_id = row
    if status == "running":
        db.execute("UPDATE turn SET cancel_requested = 1 WHERE id = ?", (command.turn_id,))
        return "running"
    if status != "queued":
        raise TurnFinished(f"the turn has ended: {status}")
    db.execute(
        "UPDATE turn SET status = 'cancelled', cancel_requested = 1, finished_at = ?, answer = ? WHERE id = ?",
        (command.now, _CANCELLED_WAITING, command.turn_id),
    )
    freed = db.execute(
        "UPDATE conversation SET pending = pending - 1 WHERE id = ? RETURNING pending", (conversation_id,)
    ).fetchone()
    if freed is None:
        raise JournalError("a turn without its conversation")
    return "cancelled"
