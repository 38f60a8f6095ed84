"""How the commands that are not grouped are applied to Postgres, each by itself, inside a transaction of the caller's.

Every function locks the lane it touches and checks before its first write, so that a typed refusal leaves nothing
behind. What writes for a turn matches the granted epoch in the lane's row.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import ConversationBusy, IdempotencyConflict, LeaseLost, NotFound
from ngx_agents.state import commands as c
from ngx_agents.state.governance import completed
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_blobs import APPLY as BLOBS
from ngx_agents.state.postgres_budgets import APPLY as BUDGETS
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_erasure import delete_conversation, erase_user
from ngx_agents.state.postgres_expiry import APPLY as EXPIRY
from ngx_agents.state.postgres_governance import APPLY as GOVERNANCE
from ngx_agents.state.postgres_governance import write_audit
from ngx_agents.state.postgres_heartbeats import beat, leave
from ngx_agents.state.postgres_pushes import APPLY as PUSHES
from ngx_agents.state.postgres_rows import Lane, shard_in, storable
from ngx_agents.state.postgres_schedules import APPLY as SCHEDULES
from ngx_agents.state.postgres_states import APPLY as STATES
from ngx_agents.state.postgres_store import lock_lane
from ngx_agents.state.postgres_tasks import APPLY as TASKS
from ngx_agents.state.postgres_turns import replay_turn, request_cancel
from ngx_agents.state.postgres_user_batches import APPLY as BATCHES
from ngx_agents.state.postgres_webhooks import APPLY as WEBHOOKS
from ngx_agents.state.sharded_routes import shard_for
from ngx_agents.state.state_commands import next_version

encode_json = msgspec.json.Encoder().encode


async def apply(connection: Connection, command: c.Command) -> Any:
    """The command's result. Raises its typed errors, having written nothing, and what the database raises."""
    return await _APPLY[type(command)](connection, command)


async def _owned_lane(connection: Connection, conversation_id: str, owner: Owner) -> Lane | None:
    """The locked lane, None when it is absent or another's."""
    lane = await lock_lane(connection, conversation_id)
    return lane if lane is not None and lane.owner == owner else None


async def _refuse_if_busy(connection: Connection, lane: Lane) -> None:
    if lane.pending == 0:
        return
    turn_id = await connection.fetchval(
        "SELECT id FROM ngx.turn WHERE shard = $1 AND conversation_id = $2 AND status IN ('queued', 'running')"
        " ORDER BY number LIMIT 1",
        lane.shard,
        lane.id,
    )
    raise ConversationBusy(turn_id)


async def _refuse_stale(connection: Connection, conversation_id: str, turn_id: str, epoch: int) -> None:
    lane = await lock_lane(connection, conversation_id)
    if lane is None or lane.epoch != epoch or lane.running != turn_id:
        raise LeaseLost(f"turn {turn_id} was granted to another owner")


async def _delete_conversation(connection: Connection, command: c.DeleteConversation) -> bool:
    lane = await _owned_lane(connection, command.id, command.owner)
    if lane is None:
        return False
    await _refuse_if_busy(connection, lane)
    await delete_conversation(connection, lane)
    return True


async def _import_messages(connection: Connection, command: c.ImportMessages) -> None:
    lane = await _owned_lane(connection, command.conversation_id, command.owner)
    if lane is None:
        raise NotFound("no such conversation")
    await _refuse_if_busy(connection, lane)
    await connection.execute(
        "UPDATE ngx.conversation SET next_turn = next_turn + $3, updated_at = $4 WHERE shard = $1 AND id = $2",
        lane.shard,
        lane.id,
        len(command.messages),
        command.now,
    )
    await connection.executemany(
        "INSERT INTO ngx.message (shard, conversation_id, seq, id, role, text, created_at, turn_id, agent, source)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9)",
        [
            (lane.shard, lane.id, 2 * (lane.next_turn + offset) - (said.role == "user"), said.id, said.role,
             storable(said.text), said.created_at, said.agent, said.source)
            for offset, said in enumerate(command.messages)
        ],
    )  # fmt: skip


async def _record_effect(connection: Connection, command: c.RecordEffect) -> str | None:
    await _refuse_stale(connection, command.conversation_id, command.turn_id, command.epoch)
    shard = shard_in(command.turn_id)
    before: str | None = await connection.fetchval(
        "SELECT state FROM ngx.effect WHERE shard = $1 AND turn_id = $2 AND key = $3",
        shard,
        command.turn_id,
        command.key,
    )
    if before is None or command.state != "intended":
        await connection.execute(
            "INSERT INTO ngx.effect (shard, turn_id, key, state, result, changed_at) VALUES ($1, $2, $3, $4, $5, $6)"
            " ON CONFLICT (shard, turn_id, key) DO UPDATE SET state = excluded.state, result = excluded.result,"
            " changed_at = excluded.changed_at",
            shard,
            command.turn_id,
            command.key,
            command.state,
            command.result,
            command.now,
        )
    return before


async def _put_profile(connection: Connection, command: c.PutProfile) -> None:
    await connection.execute(
        "INSERT INTO ngx.profile AS p (shard, tenant, user_id, body, updated_at, version)"
        " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (shard, tenant, user_id) DO UPDATE SET body = excluded.body,"
        " updated_at = excluded.updated_at, version = greatest(p.version + 1, excluded.version)",
        shard_of(command.owner.user),
        command.owner.tenant,
        command.owner.user,
        encode_json(command.profile),
        command.now,
        next_version(0, command.now),
    )


async def _refuse_other_body(connection: Connection, command: c.AddLog) -> None:
    """Until the transaction ends nobody else, on any instance, adds what has the same key."""
    owner, start = command.owner, command.entry.id[: c.KEYED_CHARS]
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", start)
    found = await connection.fetchval(
        "SELECT id FROM ngx.log WHERE shard = $1 AND tenant = $2 AND user_id = $3 AND id >= $4 AND id < $5 LIMIT 1",
        shard_of(owner.user),
        owner.tenant,
        owner.user,
        start,
        f"{start}~",
    )
    if found is not None and found != command.entry.id:
        raise IdempotencyConflict("the key was used with another body")


async def _add_log(connection: Connection, command: c.AddLog) -> bool:
    if command.lease is not None:
        await _refuse_stale(connection, *command.lease)
    entry = command.entry
    if command.is_keyed:
        await _refuse_other_body(connection, command)
    added = await connection.fetchval(
        "INSERT INTO ngx.log (shard, tenant, user_id, id, kind, at, data) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT DO NOTHING RETURNING 1",
        shard_of(command.owner.user),
        command.owner.tenant,
        command.owner.user,
        entry.id,
        entry.kind,
        entry.at,
        encode_json(entry.data),
    )
    return added is not None


async def _put_key(connection: Connection, command: c.PutKey) -> None:
    key = command.key
    await connection.execute("DELETE FROM ngx.api_key WHERE id = $1 OR digest = $2", key.id, key.digest)
    await connection.execute(
        "INSERT INTO ngx.api_key (shard, digest, id, tenant, user_id, roles, created_at, revoked_at, name, agents,"
        " expires_at, last_used_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        key.digest[0],
        key.digest,
        key.id,
        key.owner.tenant,
        key.owner.user,
        " ".join(key.roles),
        key.created_at,
        key.revoked_at,
        storable(key.name),
        " ".join(key.agents),
        key.expires_at,
        key.last_used_at,
    )


async def _touch_key(connection: Connection, command: c.TouchKey) -> None:
    await connection.execute(
        "UPDATE ngx.api_key SET last_used_at = greatest(last_used_at, $3) WHERE shard = $1 AND digest = $2",
        command.digest[0],
        command.digest,
        command.at,
    )


async def _revoke_key(connection: Connection, command: c.RevokeKey) -> bool:
    found = await connection.fetchval(
        "UPDATE ngx.api_key SET revoked_at = coalesce(revoked_at, $3) WHERE shard = $1 AND digest = $2 RETURNING 1",
        command.digest[0],
        command.digest,
        command.now,
    )
    return found is not None


async def _end_key(connection: Connection, command: c.EndKey) -> None:
    found = await connection.fetchval(
        "UPDATE ngx.api_key SET expires_at = least(expires_at, $3)"
        " WHERE shard = $1 AND digest = $2 AND revoked_at IS NULL RETURNING 1",
        command.digest[0],
        command.digest,
        command.at,
    )
    if found is None:
        raise NotFound("there is no such key, or it is revoked")


async def _audited(connection: Connection, command: c.Audited) -> Any:
    result = await apply(connection, command.command)
    await write_audit(connection, completed(command.entry, result), shard=shard_for(command.command) or 0)
    return result


_APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    c.DeleteConversation: _delete_conversation,
    c.ImportMessages: _import_messages,
    c.RecordEffect: _record_effect,
    c.RequestCancel: request_cancel,
    c.ReplayTurn: replay_turn,
    c.PutProfile: _put_profile,
    c.AddLog: _add_log,
    c.PutKey: _put_key,
    c.RevokeKey: _revoke_key,
    c.EndKey: _end_key,
    c.TouchKey: _touch_key,
    c.EraseUser: erase_user,
    c.Beat: beat,
    c.Leave: leave,
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
