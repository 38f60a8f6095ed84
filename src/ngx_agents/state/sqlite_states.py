"""States, appended messages and consents on SQLite. As in `sqlite_commands`: checks come before writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import NotFound, StateConflict
from ngx_agents.state import state_commands as s
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_blobs import export_blobs
from ngx_agents.state.sqlite_rows import MESSAGE, message_of

Connection = sqlite3.Connection
_STAMP = """
SELECT coalesce(s.version, 0), v.next_turn, v.epoch, v.pending = 0, v.created_at
FROM conversation v LEFT JOIN state s ON s.conversation_id = v.id
WHERE v.id = ? AND v.tenant = ? AND v.user = ?
"""


def _stamp(db: Connection, conversation_id: str, owner: Owner) -> s.Stamp | None:
    row = db.execute(_STAMP, (conversation_id, owner.tenant, owner.user)).fetchone()
    if row is None:
        return None
    version, next_turn, epoch, is_idle, created_at = row
    return s.Stamp(version=version, next_turn=next_turn, epoch=epoch, is_idle=bool(is_idle), created_at=created_at)


def _made(db: Connection, conversation_id: str, owner: Owner, *, now: float) -> s.Stamp:
    """Where the conversation stands; it is made when it is absent. Raises NotFound when it is someone else's."""
    stamp = _stamp(db, conversation_id, owner)
    if stamp is not None:
        return stamp
    made = db.execute(
        "INSERT INTO conversation (id, tenant, user, title, created_at, updated_at) VALUES (?1, ?2, ?3, '', ?4, ?4)"
        " ON CONFLICT DO NOTHING RETURNING 1",
        (conversation_id, owner.tenant, owner.user, now),
    ).fetchone()
    if made is None:
        raise NotFound("no such conversation")
    return s.Stamp(version=0, next_turn=1, epoch=0, is_idle=True, created_at=now)


def _put_state(db: Connection, command: s.PutState) -> s.Stamp:
    former = _stamp(db, command.conversation_id, command.owner)
    found = former.version if former is not None else 0
    if command.expected_version is not None and command.expected_version != found:
        raise StateConflict(expected=command.expected_version, found=found)
    stamp = _made(db, command.conversation_id, command.owner, now=command.now)
    version = s.next_version(found, command.now)
    db.execute(
        "INSERT INTO state (conversation_id, version, body, updated_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (conversation_id) DO UPDATE SET"
        " version = excluded.version, body = excluded.body, updated_at = excluded.updated_at",
        (command.conversation_id, version, command.body, command.now),
    )
    db.execute("UPDATE conversation SET updated_at = ? WHERE id = ?", (command.now, command.conversation_id))
    return s.Stamp(
        version=version,
        next_turn=stamp.next_turn,
        epoch=stamp.epoch,
        is_idle=stamp.is_idle,
        created_at=stamp.created_at,
    )


def _append(db: Connection, command: s.Append) -> s.Appended:
    stamp = _made(db, command.conversation_id, command.owner, now=command.now)
    db.execute(
        "UPDATE conversation SET next_turn = next_turn + ?, updated_at = ? WHERE id = ?",
        (len(command.messages), command.now, command.conversation_id),
    )
    seqs = s.appended_seqs(stamp.next_turn, command.messages)
    db.executemany(
        "INSERT INTO message (conversation_id, seq, id, role, text, created_at, turn_id, agent, source)"
        " VALUES (?, ?, ?, ?, ?, ?, '', ?, ?)",
        [
            (command.conversation_id, seq, m.id, m.role, m.text, m.created_at, m.agent, m.source)
            for seq, m in zip(seqs, command.messages, strict=True)
        ],
    )
    after = s.Stamp(
        version=stamp.version,
        next_turn=stamp.next_turn + len(command.messages),
        epoch=stamp.epoch,
        is_idle=stamp.is_idle,
        created_at=stamp.created_at,
    )
    return s.Appended(stamp=after, seqs=seqs)


def _get_stamp(db: Connection, question: s.GetStamp) -> s.Stamp | None:
    return _stamp(db, question.conversation_id, question.owner)


def _get_state(db: Connection, question: s.GetState) -> s.StoredState | None:
    db.execute("BEGIN")
    try:
        stamp = _stamp(db, question.conversation_id, question.owner)
        if stamp is None:
            return None
        body = db.execute("SELECT body FROM state WHERE conversation_id = ?", (question.conversation_id,)).fetchone()
        rows = db.execute(
            f"{MESSAGE} ORDER BY seq DESC LIMIT ?", (question.conversation_id, question.recent)
        ).fetchall()
    finally:
        db.execute("COMMIT")
    messages = tuple(message_of(row) for row in reversed(rows))
    return s.StoredState(stamp=stamp, body=body[0] if body else b"", messages=messages)


def _put_consent(db: Connection, command: s.PutConsent) -> None:
    consent = command.consent
    db.execute(
        "INSERT INTO consent (tenant, user, kind, version, is_given, at) VALUES (?, ?, ?, ?, ?, ?)",
        (command.owner.tenant, command.owner.user, consent.kind, consent.version, consent.is_given, consent.at),
    )


_CONSENT = "SELECT kind, version, is_given, at FROM consent"


def _consent(row: tuple[Any, ...]) -> s.Consent:
    return s.Consent(kind=row[0], version=row[1], is_given=bool(row[2]), at=row[3])


def _get_consents(db: Connection, question: s.GetConsents) -> tuple[s.Consent, ...]:
    rows = db.execute(
        f"{_CONSENT} WHERE number IN (SELECT max(number) FROM consent WHERE tenant = ? AND user = ? GROUP BY kind)"
        " ORDER BY kind",
        (question.owner.tenant, question.owner.user),
    )
    return tuple(_consent(row) for row in rows)


def export_more(db: Connection, owner: Owner) -> dict[str, Any]:
    """What an export holds beyond turns and logs: states by conversation, attachments without bytes, all consents."""
    who = (owner.tenant, owner.user)
    mine = "WHERE tenant = ? AND user = ?"
    states = db.execute(
        "SELECT s.conversation_id, s.body FROM state s JOIN conversation v ON v.id = s.conversation_id"
        " WHERE v.tenant = ? AND v.user = ? ORDER BY v.created_at, v.id",
        who,
    )
    return {
        "states": dict(states.fetchall()),
        "blobs": export_blobs(db, owner),
        "consents": [_consent(row) for row in db.execute(f"{_CONSENT} {mine} ORDER BY number", who)],
    }


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    s.PutState: _put_state,
    s.Append: _append,
    s.PutConsent: _put_consent,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    s.GetStamp: _get_stamp,
    s.GetState: _get_state,
    s.GetConsents: _get_consents,
}
