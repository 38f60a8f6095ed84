"""How each question is answered from SQLite, on a read-only connection. Every look-up carries the owner."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.codec import Codec
from ngx_agents.state.model import (
    Answer,
    Artifact,
    ConversationInfo,
    LogEntry,
    Message,
    Owner,
    Page,
    Profile,
    Turn,
)
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.sqlite_blobs import ANSWER as BLOBS
from ngx_agents.state.sqlite_budgets import ANSWER as BUDGETS
from ngx_agents.state.sqlite_governance import ANSWER as GOVERNANCE
from ngx_agents.state.sqlite_pushes import ANSWER as PUSHES
from ngx_agents.state.sqlite_rows import MESSAGE, message_of
from ngx_agents.state.sqlite_schedules import ANSWER as SCHEDULES
from ngx_agents.state.sqlite_schedules import export_schedules
from ngx_agents.state.sqlite_states import ANSWER, export_more
from ngx_agents.state.sqlite_tasks import ANSWER as TASKS
from ngx_agents.state.sqlite_tasks import export_tasks
from ngx_agents.state.sqlite_user_batches import ANSWER as BATCHES
from ngx_agents.state.sqlite_user_batches import export_batches
from ngx_agents.state.sqlite_webhooks import ANSWER as WEBHOOKS
from ngx_agents.state.sqlite_webhooks import export_webhooks
from ngx_agents.state.state_commands import VersionedProfile

Connection = sqlite3.Connection
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_profile = msgspec.msgpack.Decoder(Profile).decode
_decode_state = Codec(dict).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


def answer(db: Connection, question: c.Question) -> Any:
    """What the question's docstring names."""
    return _ANSWER[type(question)](db, question)


_LOGS_OF_USER = "SELECT id, kind, at, data FROM log WHERE tenant = ? AND user = ? ORDER BY at, id"
_CONVERSATION = """
SELECT v.id, v.title, v.created_at, v.updated_at,
  (SELECT count(*) FROM message m WHERE m.conversation_id = v.id)
FROM conversation v WHERE v.tenant = ? AND v.user = ?
"""


def _conversation(row: tuple[Any, ...]) -> ConversationInfo:
    return ConversationInfo(id=row[0], title=row[1], created_at=row[2], updated_at=row[3], messages=row[4])


def _get_conversation(db: Connection, question: c.GetConversation) -> ConversationInfo | None:
    values = (question.owner.tenant, question.owner.user, question.id)
    row = db.execute(_CONVERSATION + " AND v.id = ?", values).fetchone()
    return _conversation(row) if row else None


def _list_conversations(db: Connection, question: c.ListConversations) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = db.execute(
        f"{_CONVERSATION} AND v.is_listed = 1 AND (v.created_at, v.id) < (?, ?)"
        " ORDER BY v.created_at DESC, v.id DESC LIMIT ?",
        (question.owner.tenant, question.owner.user, *place, question.limit + 1),
    ).fetchall()
    return page([_conversation(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


def _refuse_foreign(db: Connection, conversation_id: str, owner: Owner) -> None:
    row = db.execute(
        "SELECT 1 FROM conversation WHERE id = ? AND tenant = ? AND user = ?",
        (conversation_id, owner.tenant, owner.user),
    ).fetchone()
    if row is None:
        raise NotFound("no such conversation")


_MESSAGE_WITH_ANSWER = """
SELECT m.id, m.seq, m.role, m.text, m.created_at, m.turn_id, m.agent, m.source, t.answer
FROM message m LEFT JOIN turn t ON t.id = m.turn_id AND m.role = 'assistant'
WHERE m.conversation_id = ? AND m.seq > ? ORDER BY m.seq LIMIT ?
"""


def _list_messages(db: Connection, question: c.ListMessages) -> Page:
    _refuse_foreign(db, question.conversation_id, question.owner)
    place = place_of(question.cursor) or (0.0, "")
    rows = db.execute(_MESSAGE_WITH_ANSWER, (question.conversation_id, place[0], question.limit + 1)).fetchall()
    return page([_message_with_origin(row) for row in rows], question.limit, lambda item: (item.seq, item.id))


def _message_with_origin(row: tuple[Any, ...]) -> Message:
    message = message_of(row)
    if row[8] is not None:
        answer = _decode_answer(row[8])
        message.rung, message.model, message.degraded = answer.rung, answer.model, answer.degraded
    return message


def _recent_messages(db: Connection, question: c.RecentMessages) -> tuple[Message, ...]:
    rows = db.execute(
        MESSAGE + " AND seq < ? ORDER BY seq DESC LIMIT ?",
        (question.conversation_id, question.before, question.limit),
    ).fetchall()
    return tuple(message_of(row) for row in reversed(rows))


def _get_turn(db: Connection, question: c.GetTurn) -> Turn | None:
    row = db.execute(
        "SELECT t.id, t.conversation_id, t.status, m.text, t.number, t.accepted_at, t.deadline_at, t.turn_class,"
        " t.locale, t.agent, t.attempts, t.epoch, t.last_seq, t.cancel_requested, t.finished_at, t.answer, a.text,"
        " t.attachments, t.trail"
        " FROM turn t JOIN message m ON m.conversation_id = t.conversation_id AND m.seq = 2 * t.number - 1"
        " LEFT JOIN message a ON a.conversation_id = t.conversation_id AND a.seq = 2 * t.number"
        " WHERE t.id = ? AND t.tenant = ? AND t.user = ?",
        (question.id, question.owner.tenant, question.owner.user),
    ).fetchone()
    if row is None:
        return None
    return Turn(
        id=row[0],
        conversation_id=row[1],
        owner=question.owner,
        status=row[2],
        text=row[3],
        seq=2 * row[4] - 1,
        accepted_at=row[5],
        deadline_at=row[6],
        turn_class=row[7],
        locale=row[8],
        agent=row[9],
        attempts=row[10],
        epoch=row[11],
        last_seq=row[12],
        cancel_requested=bool(row[13]),
        finished_at=row[14],
        answer=_answer_of(row[15], row[16]),
        attachments=tuple((row[17] or "").split()),
        trail=row[18],
    )


def _answer_of(stored: bytes | None, text: str | None) -> Answer | None:
    """The text of an answer is kept once, in its message."""
    if stored is None:
        return None
    answer = _decode_answer(stored)
    return msgspec.structs.replace(answer, text=text) if text is not None else answer


def _checkpoints(db: Connection, question: c.Checkpoints) -> dict[str, bytes]:
    return dict(db.execute("SELECT key, value FROM checkpoint WHERE turn_id = ?", (question.turn_id,)).fetchall())


def _effects(db: Connection, question: c.Effects) -> dict[str, tuple[str, bytes]]:
    rows = db.execute("SELECT key, state, result FROM effect WHERE turn_id = ?", (question.turn_id,)).fetchall()
    return {key: (state, result) for key, state, result in rows}


def _get_profile(db: Connection, question: c.GetProfile) -> Profile:
    row = db.execute(
        "SELECT body FROM profile WHERE tenant = ? AND user = ?", (question.owner.tenant, question.owner.user)
    ).fetchone()
    return _decode_profile(row[0]) if row else Profile()


def _read_profile(db: Connection, question: c.ReadProfile) -> VersionedProfile:
    row = db.execute(
        "SELECT version, body FROM profile WHERE tenant = ? AND user = ?", (question.owner.tenant, question.owner.user)
    ).fetchone()
    if row is None:
        return VersionedProfile(version=0, profile=Profile())
    return VersionedProfile(version=row[0], profile=_decode_profile(row[1]))


def _log_entry(row: tuple[Any, ...]) -> LogEntry:
    return LogEntry(id=row[0], kind=row[1], at=row[2], data=_decode_object(row[3]))


def _list_logs(db: Connection, question: c.ListLogs) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = db.execute(
        "SELECT id, kind, at, data FROM log WHERE tenant = :tenant AND user = :user AND at >= :since"
        " AND (:kind IS NULL OR kind = :kind) AND (at, id) < (:at, :id) ORDER BY at DESC, id DESC LIMIT :most",
        {
            "tenant": question.owner.tenant,
            "user": question.owner.user,
            "since": question.since,
            "kind": question.kind,
            "at": place[0],
            "id": place[1],
            "most": question.limit + 1,
        },
    ).fetchall()
    return page([_log_entry(row) for row in rows], question.limit, lambda item: (item.at, item.id))


_ARTIFACT = "SELECT id, agent, kind, title, data, created_at, turn_id, conversation_id, version FROM artifact"


def _artifact(row: tuple[Any, ...]) -> Artifact:
    return Artifact(
        id=row[0],
        agent=row[1],
        kind=row[2],
        title=row[3],
        data=_decode_object(row[4]),
        created_at=row[5],
        turn_id=row[6],
        conversation_id=row[7],
        version=row[8],
    )


def _list_artifacts(db: Connection, question: c.ListArtifacts) -> Page:
    place = place_of(question.cursor) or NEWEST
    narrowed = " AND turn_id = ?" if question.turn_id is not None else ""
    values: list[Any] = [question.owner.tenant, question.owner.user, *place]
    if question.turn_id is not None:
        values.append(question.turn_id)
    rows = db.execute(
        f"{_ARTIFACT} WHERE tenant = ? AND user = ? AND (created_at, id) < (?, ?){narrowed}"
        " ORDER BY created_at DESC, id DESC LIMIT ?",
        (*values, question.limit + 1),
    ).fetchall()
    return page([_artifact(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


def _get_artifact(db: Connection, question: c.GetArtifact) -> Artifact | None:
    row = db.execute(
        f"{_ARTIFACT} WHERE id = ? AND tenant = ? AND user = ?",
        (question.id, question.owner.tenant, question.owner.user),
    ).fetchone()
    return _artifact(row) if row else None


_KEY = """
SELECT id, digest, tenant, user, roles, created_at, revoked_at, name, agents, expires_at, last_used_at
FROM api_key"""


def _key(row: tuple[Any, ...]) -> c.ApiKey:
    return c.ApiKey(
        id=row[0],
        digest=row[1],
        owner=Owner(row[2], row[3]),
        roles=tuple(row[4].split()),
        created_at=row[5],
        revoked_at=row[6],
        name=row[7],
        agents=tuple(row[8].split()),
        expires_at=row[9],
        last_used_at=row[10],
    )


def _find_key(db: Connection, question: c.FindKey) -> c.ApiKey | None:
    row = db.execute(f"{_KEY} WHERE digest = ?", (question.digest,)).fetchone()
    return _key(row) if row else None


def _keys_that_hold(db: Connection, question: c.KeysThatHold) -> tuple[tuple[bytes, float | None], ...]:
    places = ",".join("?" * len(question.digests))
    rows = db.execute(
        f"SELECT digest, expires_at FROM api_key WHERE digest IN ({places}) AND revoked_at IS NULL"
        " AND (expires_at IS NULL OR expires_at > ?)",
        (*question.digests, question.now),
    )
    return tuple(rows)


def _list_keys(db: Connection, question: c.ListKeys) -> tuple[c.ApiKey, ...]:
    return tuple(_key(row) for row in db.execute(f"{_KEY} ORDER BY created_at, id"))


def _export_user(db: Connection, question: c.ExportUser) -> dict[str, Any]:
    owner = question.owner
    who = (owner.tenant, owner.user)
    conversations = db.execute(_CONVERSATION + " ORDER BY v.created_at, v.id", who).fetchall()
    turn_ids = db.execute(
        "SELECT id FROM turn WHERE id IN (SELECT turn_id FROM message WHERE conversation_id IN"
        " (SELECT id FROM conversation WHERE tenant = ? AND user = ?)) ORDER BY accepted_at, id",
        who,
    ).fetchall()
    exported = {
        "profile": _get_profile(db, c.GetProfile(owner=owner)),
        "conversations": [_conversation(row) for row in conversations],
        "messages": {
            row[0]: [message_of(m) for m in db.execute(MESSAGE + " ORDER BY seq", (row[0],))] for row in conversations
        },
        "turns": [_get_turn(db, c.GetTurn(id=row[0], owner=owner)) for row in turn_ids],
        "artifacts": [
            _artifact(r) for r in db.execute(f"{_ARTIFACT} WHERE tenant = ? AND user = ? ORDER BY created_at, id", who)
        ],
        "logs": [_log_entry(row) for row in db.execute(_LOGS_OF_USER, who)],
        "batches": export_batches(db, owner),
        "schedules": export_schedules(db, owner),
        **export_tasks(db, owner),
        "standing_webhooks": export_webhooks(db, owner),
        **_decoded_states(export_more(db, owner)),
    }
    built: dict[str, Any] = msgspec.to_builtins(exported)
    return built


def _decoded_states(more: dict[str, Any]) -> dict[str, Any]:
    return more | {"states": {key: _decode_state(body) for key, body in more["states"].items()}}


def _holder_of(db: Connection, question: c.HolderOf) -> c.Holder | None:
    row = db.execute(
        "SELECT v.lane_owner, v.epoch FROM turn t JOIN conversation v ON v.id = t.conversation_id AND v.running = t.id"
        " WHERE t.id = ? AND t.tenant = ? AND t.user = ? AND v.lane_owner IS NOT NULL",
        (question.turn_id, question.owner.tenant, question.owner.user),
    ).fetchone()
    return c.Holder(instance=row[0], epoch=row[1]) if row else None


def _held_lanes(db: Connection, question: c.HeldLanes) -> tuple[c.HeldLane, ...]:
    rows = db.execute(
        "SELECT id, running, epoch FROM conversation WHERE pending > 0 AND lane_owner = ? AND running IS NOT NULL",
        (question.instance,),
    )
    return tuple(c.HeldLane(conversation_id=row[0], turn_id=row[1], epoch=row[2]) for row in rows)


def _list_instances(db: Connection, question: c.ListInstances) -> tuple[c.Instance, ...]:
    """One process has the file, and needs no heartbeat to know it."""
    return ()


def _list_dead(db: Connection, question: c.ListDead) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = db.execute(
        "SELECT id, tenant, user FROM turn WHERE status = 'dead' AND (accepted_at, id) < (?, ?)"
        " ORDER BY accepted_at DESC, id DESC LIMIT ?",
        (*place, question.limit + 1),
    ).fetchall()
    turns = [_get_turn(db, c.GetTurn(id=row[0], owner=Owner(row[1], row[2]))) for row in rows]
    return page(turns, question.limit, lambda item: (item.accepted_at, item.id))


def _ping(db: Connection, question: c.Ping) -> int:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    return int(version)


def _get_position(db: Connection, question: c.GetPosition) -> c.Position:
    return c.Position(place=0)


_ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    c.GetConversation: _get_conversation,
    c.ListConversations: _list_conversations,
    c.ListMessages: _list_messages,
    c.RecentMessages: _recent_messages,
    c.GetTurn: _get_turn,
    c.Checkpoints: _checkpoints,
    c.Effects: _effects,
    c.GetProfile: _get_profile,
    c.ReadProfile: _read_profile,
    c.ListLogs: _list_logs,
    c.ListArtifacts: _list_artifacts,
    c.GetArtifact: _get_artifact,
    c.FindKey: _find_key,
    c.KeysThatHold: _keys_that_hold,
    c.ListKeys: _list_keys,
    c.ExportUser: _export_user,
    c.HolderOf: _holder_of,
    c.HeldLanes: _held_lanes,
    c.ListInstances: _list_instances,
    c.ListDead: _list_dead,
    c.Ping: _ping,
    c.GetPosition: _get_position,
    c.GetTime: lambda db, question: None,
    c.ListShardPlaces: lambda db, question: (),
    **ANSWER,
    **BLOBS,
    **GOVERNANCE,
    **BUDGETS,
    **BATCHES,
    **SCHEDULES,
    **TASKS,
    **PUSHES,
    **WEBHOOKS,
}
