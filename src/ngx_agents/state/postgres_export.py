"""Everything that is stored about one user, as values that JSON can hold."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Message, Owner, Profile
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import (
    ARTIFACT,
    CONVERSATION,
    LOG,
    TURN,
    artifact,
    conversation,
    log_entry,
    message,
    turn,
)
from ngx_agents.state.postgres_schedules import export_schedules
from ngx_agents.state.postgres_states import export_more
from ngx_agents.state.postgres_tasks import export_tasks
from ngx_agents.state.postgres_user_batch_lists import export_batches
from ngx_agents.state.postgres_webhooks import export_webhooks

_MESSAGES = """
SELECT m.id, m.seq, m.role, m.text, m.created_at, m.turn_id, m.agent, m.source, m.conversation_id
FROM ngx.conversation v JOIN ngx.message m ON m.shard = v.shard AND m.conversation_id = v.id
WHERE v.tenant = $1 AND v.user_id = $2 ORDER BY m.conversation_id, m.seq
"""
_TURNS = f"""{TURN} WHERE (t.shard, t.id) IN (
  SELECT m.shard, m.turn_id FROM ngx.conversation v JOIN ngx.message m ON m.shard = v.shard AND m.conversation_id = v.id
  WHERE v.tenant = $1 AND v.user_id = $2) ORDER BY t.accepted_at, t.id"""
_MINE = "WHERE tenant = $1 AND user_id = $2"


async def export_user(connection: Connection, owner: Owner, profile: Profile) -> dict[str, Any]:
    who = (owner.tenant, owner.user)
    rows = await connection.fetch(
        f"{CONVERSATION} WHERE v.tenant = $1 AND v.user_id = $2 ORDER BY v.created_at, v.id", *who
    )
    messages: dict[str, list[Message]] = {row[0]: [] for row in rows}
    for row in await connection.fetch(_MESSAGES, *who):
        messages.setdefault(row[8], []).append(message(row))
    artifacts = await connection.fetch(f"{ARTIFACT} {_MINE} ORDER BY created_at, id", *who)
    logs = await connection.fetch(f"{LOG} {_MINE} AND shard = $3 ORDER BY at, id", *who, shard_of(owner.user))
    exported = {
        "profile": profile,
        "conversations": [conversation(row) for row in rows],
        "messages": messages,
        "turns": [turn(row) for row in await connection.fetch(_TURNS, *who)],
        "artifacts": [artifact(row) for row in artifacts],
        "logs": [log_entry(row) for row in logs],
        "batches": await export_batches(connection, owner),
        "schedules": await export_schedules(connection, owner),
        **await export_tasks(connection, owner),
        "standing_webhooks": await export_webhooks(connection, owner),
        **await export_more(connection, owner),
    }
    built: dict[str, Any] = msgspec.to_builtins(exported)
    return built
