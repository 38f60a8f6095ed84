"""Rows of Postgres as the journal's records: what is selected, and how it is read."""

from __future__ import annotations

from typing import Any, TypeAlias

import asyncpg
import msgspec

from ngx_agents.state import commands as c
from ngx_agents.state.model import (
    Answer,
    Artifact,
    ConversationInfo,
    LogEntry,
    Message,
    Owner,
    Profile,
    Turn,
)
from ngx_agents.state.pages import NEWEST as NEWEST
from ngx_agents.state.pages import page as page
from ngx_agents.state.pages import place_of as place_of

Row: TypeAlias = asyncpg.Record
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
decode_profile = msgspec.json.Decoder(Profile).decode

CONVERSATION = """
SELECT v.id, v.title, v.created_at, v.updated_at,
  (SELECT count(*) FROM ngx.message m WHERE m.shard = v.shard AND m.conversation_id = v.id)
FROM ngx.conversation v"""
MESSAGE = "SELECT id, seq, role, text, created_at, turn_id, agent, source FROM ngx.message"
TURN = """
SELECT t.id, t.conversation_id, t.tenant, t.user_id, t.status, m.text, t.number, t.accepted_at, t.deadline_at,
  t.turn_class, t.locale, t.agent, t.attempts, t.epoch, t.last_seq, t.cancel_requested, t.finished_at, t.answer, a.text,
  t.attachments, t.trail
FROM ngx.turn t
JOIN ngx.message m ON m.shard = t.shard AND m.conversation_id = t.conversation_id AND m.seq = 2 * t.number - 1
LEFT JOIN ngx.message a ON a.shard = t.shard AND a.conversation_id = t.conversation_id AND a.seq = 2 * t.number"""
LOG = "SELECT id, kind, at, data FROM ngx.log"
ARTIFACT = "SELECT id, agent, kind, title, data, created_at, turn_id, conversation_id, version FROM ngx.artifact"
KEY = """
SELECT id, digest, tenant, user_id, roles, created_at, revoked_at, name, agents, expires_at, last_used_at
FROM ngx.api_key"""


def conversation(row: Row) -> ConversationInfo:
    return ConversationInfo(id=row[0], title=row[1], created_at=row[2], updated_at=row[3], messages=row[4])


def message(row: Row) -> Message:
    return Message(
        id=row[0], seq=row[1], role=row[2], text=row[3], created_at=row[4], turn_id=row[5], agent=row[6], source=row[7]
    )


def message_with_origin(row: Row) -> Message:
    """A message with what the turn's answer says of where it came from."""
    found = message(row)
    if row[8] is not None:
        answer = _decode_answer(row[8])
        found.rung, found.model, found.degraded = answer.rung, answer.model, answer.degraded
    return found


def turn(row: Row) -> Turn:
    return Turn(
        id=row[0], conversation_id=row[1], owner=Owner(row[2], row[3]), status=row[4], text=row[5],
        seq=2 * row[6] - 1, accepted_at=row[7], deadline_at=row[8], turn_class=row[9], locale=row[10], agent=row[11],
        attempts=row[12], epoch=row[13], last_seq=row[14], cancel_requested=row[15], finished_at=row[16],
        answer=_answer_of(row[17], row[18]), attachments=tuple((row[19] or "").split()), trail=row[20],
    )  # fmt: skip


def _answer_of(stored: bytes | None, text: str | None) -> Answer | None:
    """The text of an answer is kept once, in its message."""
    if stored is None:
        return None
    answer = _decode_answer(stored)
    return msgspec.structs.replace(answer, text=text) if text is not None else answer


def log_entry(row: Row) -> LogEntry:
    return LogEntry(id=row[0], kind=row[1], at=row[2], data=_decode_object(row[3]))


def artifact(row: Row) -> Artifact:
    return Artifact(
        id=row[0], agent=row[1], kind=row[2], title=row[3], data=_decode_object(row[4]), created_at=row[5],
        turn_id=row[6], conversation_id=row[7], version=row[8],
    )  # fmt: skip


def api_key(row: Row) -> c.ApiKey:
    return c.ApiKey(
        id=row[0], digest=row[1], owner=Owner(row[2], row[3]), roles=tuple(row[4].split()), created_at=row[5],
        revoked_at=row[6], name=row[7], agents=tuple(row[8].split()), expires_at=row[9], last_used_at=row[10],
    )  # fmt: skip
