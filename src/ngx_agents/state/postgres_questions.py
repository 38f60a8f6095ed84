"""How each question is answered from Postgres. Every look-up of a user's data carries the owner."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.errors import NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Artifact, ConversationInfo, Message, Page, Profile, Turn
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.postgres_blobs import ANSWER as BLOBS
from ngx_agents.state.postgres_budgets import ANSWER as BUDGETS
from ngx_agents.state.postgres_connections import Connection, Session
from ngx_agents.state.postgres_export import export_user
from ngx_agents.state.postgres_governance import ANSWER as GOVERNANCE
from ngx_agents.state.postgres_migrations import checked_version
from ngx_agents.state.postgres_operations import (
    find_key,
    get_position,
    get_time,
    held_lanes,
    holder_of,
    keys_that_hold,
    list_dead,
    list_instances,
    list_keys,
    list_shard_places,
)
from ngx_agents.state.postgres_pushes import ANSWER as PUSHES
from ngx_agents.state.postgres_records import (
    ARTIFACT,
    CONVERSATION,
    LOG,
    MESSAGE,
    TURN,
    artifact,
    conversation,
    decode_profile,
    log_entry,
    message,
    message_with_origin,
    turn,
)
from ngx_agents.state.postgres_rows import shard_in
from ngx_agents.state.postgres_schedules import ANSWER as SCHEDULES
from ngx_agents.state.postgres_states import ANSWER as STATES
from ngx_agents.state.postgres_tasks import ANSWER as TASKS
from ngx_agents.state.postgres_user_batch_lists import ANSWER as BATCHES
from ngx_agents.state.postgres_webhooks import ANSWER as WEBHOOKS
from ngx_agents.state.state_commands import VersionedProfile

MAX_SEQ = 2**31 - 1


async def answer(session: Session, question: c.Question) -> Any:
    """What the question's docstring names."""
    async with session.statement() as connection:
        return await _ANSWER[type(question)](connection, question)


async def _get_conversation(connection: Connection, question: c.GetConversation) -> ConversationInfo | None:
    row = await connection.fetchrow(
        f"{CONVERSATION} WHERE v.shard = $1 AND v.id = $2 AND v.tenant = $3 AND v.user_id = $4",
        shard_in(question.id),
        question.id,
        question.owner.tenant,
        question.owner.user,
    )
    return conversation(row) if row else None


async def _list_conversations(connection: Connection, question: c.ListConversations) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = await connection.fetch(
        f"{CONVERSATION} WHERE v.tenant = $1 AND v.user_id = $2 AND v.is_listed AND (v.created_at, v.id) < ($3, $4)"
        " ORDER BY v.created_at DESC, v.id DESC LIMIT $5",
        question.owner.tenant,
        question.owner.user,
        *place,
        question.limit + 1,
    )
    return page([conversation(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


async def _list_messages(connection: Connection, question: c.ListMessages) -> Page:
    place = place_of(question.cursor) or (0.0, "")
    rows = await connection.fetch(
        "SELECT m.id, m.seq, m.role, m.text, m.created_at, m.turn_id, m.agent, m.source, t.answer"
        " FROM ngx.conversation v LEFT JOIN LATERAL (SELECT * FROM ngx.message WHERE shard = v.shard"
        "   AND conversation_id = v.id AND seq > $5 ORDER BY seq LIMIT $6) m ON true"
        " LEFT JOIN ngx.turn t ON t.shard = m.shard AND t.id = m.turn_id AND m.role = 'assistant'"
        " WHERE v.shard = $1 AND v.id = $2 AND v.tenant = $3 AND v.user_id = $4 ORDER BY m.seq",
        shard_in(question.conversation_id),
        question.conversation_id,
        question.owner.tenant,
        question.owner.user,
        int(min(max(place[0], 0.0), MAX_SEQ)),
        question.limit + 1,
    )
    if not rows:
        raise NotFound("no such conversation")
    found = [message_with_origin(row) for row in rows if row[0] is not None]
    return page(found, question.limit, lambda item: (item.seq, item.id))


async def _recent_messages(connection: Connection, question: c.RecentMessages) -> tuple[Message, ...]:
    rows = await connection.fetch(
        f"{MESSAGE} WHERE shard = $1 AND conversation_id = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4",
        shard_in(question.conversation_id),
        question.conversation_id,
        question.before,
        question.limit,
    )
    return tuple(message(row) for row in reversed(rows))


async def _get_turn(connection: Connection, question: c.GetTurn) -> Turn | None:
    row = await connection.fetchrow(
        f"{TURN} WHERE t.shard = $1 AND t.id = $2 AND t.tenant = $3 AND t.user_id = $4",
        shard_in(question.id),
        question.id,
        question.owner.tenant,
        question.owner.user,
    )
    return turn(row) if row else None


async def _checkpoints(connection: Connection, question: c.Checkpoints) -> dict[str, bytes]:
    rows = await connection.fetch(
        "SELECT key, value FROM ngx.checkpoint WHERE shard = $1 AND turn_id = $2",
        shard_in(question.turn_id),
        question.turn_id,
    )
    return {row[0]: row[1] for row in rows}


async def _effects(connection: Connection, question: c.Effects) -> dict[str, tuple[str, bytes]]:
    rows = await connection.fetch(
        "SELECT key, state, result FROM ngx.effect WHERE shard = $1 AND turn_id = $2",
        shard_in(question.turn_id),
        question.turn_id,
    )
    return {row[0]: (row[1], row[2]) for row in rows}


async def _get_profile(connection: Connection, question: c.GetProfile) -> Profile:
    body = await connection.fetchval(
        "SELECT body FROM ngx.profile WHERE shard = $1 AND tenant = $2 AND user_id = $3",
        shard_of(question.owner.user),
        question.owner.tenant,
        question.owner.user,
    )
    return decode_profile(body) if body is not None else Profile()


async def _read_profile(connection: Connection, question: c.ReadProfile) -> VersionedProfile:
    row = await connection.fetchrow(
        "SELECT version, body FROM ngx.profile WHERE shard = $1 AND tenant = $2 AND user_id = $3",
        shard_of(question.owner.user),
        question.owner.tenant,
        question.owner.user,
    )
    if row is None:
        return VersionedProfile(version=0, profile=Profile())
    return VersionedProfile(version=row[0], profile=decode_profile(row[1]))


async def _list_logs(connection: Connection, question: c.ListLogs) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = await connection.fetch(
        f"{LOG} WHERE shard = $1 AND tenant = $2 AND user_id = $3 AND at >= $4"
        " AND ($5::text IS NULL OR kind = $5) AND (at, id) < ($6, $7) ORDER BY at DESC, id DESC LIMIT $8",
        shard_of(question.owner.user),
        question.owner.tenant,
        question.owner.user,
        question.since,
        question.kind,
        *place,
        question.limit + 1,
    )
    return page([log_entry(row) for row in rows], question.limit, lambda item: (item.at, item.id))


async def _list_artifacts(connection: Connection, question: c.ListArtifacts) -> Page:
    place = place_of(question.cursor) or NEWEST
    narrowed, more = "", tuple[object, ...]()
    if question.turn_id is not None:
        narrowed, more = " AND shard = $6 AND turn_id = $7", (shard_in(question.turn_id), question.turn_id)
    rows = await connection.fetch(
        f"{ARTIFACT} WHERE tenant = $1 AND user_id = $2 AND (created_at, id) < ($3, $4){narrowed}"
        " ORDER BY created_at DESC, id DESC LIMIT $5",
        question.owner.tenant,
        question.owner.user,
        *place,
        question.limit + 1,
        *more,
    )
    return page([artifact(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


async def _get_artifact(connection: Connection, question: c.GetArtifact) -> Artifact | None:
    row = await connection.fetchrow(
        f"{ARTIFACT} WHERE shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4",
        shard_in(question.id),
        question.id,
        question.owner.tenant,
        question.owner.user,
    )
    return artifact(row) if row else None


async def _export_user(connection: Connection, question: c.ExportUser) -> dict[str, Any]:
    profile = await _get_profile(connection, c.GetProfile(owner=question.owner))
    return await export_user(connection, question.owner, profile)


async def _ping(connection: Connection, question: c.Ping) -> int:
    return await checked_version(connection)


_ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
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
    c.FindKey: find_key,
    c.KeysThatHold: keys_that_hold,
    c.ListKeys: list_keys,
    c.ExportUser: _export_user,
    c.HolderOf: holder_of,
    c.HeldLanes: held_lanes,
    c.ListInstances: list_instances,
    c.ListDead: list_dead,
    c.Ping: _ping,
    c.GetPosition: get_position,
    c.GetTime: get_time,
    c.ListShardPlaces: list_shard_places,
    **STATES,
    **BLOBS,
    **GOVERNANCE,
    **BUDGETS,
    **BATCHES,
    **SCHEDULES,
    **TASKS,
    **PUSHES,
    **WEBHOOKS,
}
