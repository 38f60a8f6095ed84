"""Deleting what belongs to a conversation or to a user, inside a transaction of the caller's."""

from __future__ import annotations

from ngx_agents.errors import ConversationBusy
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_rows import Lane

_TURNS_OF_ONE = "SELECT DISTINCT turn_id FROM ngx.message WHERE shard = $1 AND conversation_id = $2"
_MINE = "tenant = $1 AND user_id = $2"
_TURNS_OF_USER = """
SELECT DISTINCT m.turn_id FROM ngx.message m JOIN ngx.conversation v ON v.shard = m.shard AND v.id = m.conversation_id
WHERE v.tenant = $1 AND v.user_id = $2"""


async def delete_conversation(connection: Connection, lane: Lane, *, with_artifacts: bool = True) -> None:
    """Its turns, messages, state, effects, keys and attachments go too. The lane is locked and idle."""
    for table in ("checkpoint", "effect", "idempotency", *(("artifact",) if with_artifacts else ())):
        await connection.execute(f"DELETE FROM ngx.{table} WHERE turn_id IN ({_TURNS_OF_ONE})", lane.shard, lane.id)
    await connection.execute(f"DELETE FROM ngx.turn WHERE shard = $1 AND id IN ({_TURNS_OF_ONE})", lane.shard, lane.id)
    for table in ("message", "state"):
        await connection.execute(
            f"DELETE FROM ngx.{table} WHERE shard = $1 AND conversation_id = $2", lane.shard, lane.id
        )
    await connection.execute("DELETE FROM ngx.blob WHERE conversation_id = $1", lane.id)
    await connection.execute("DELETE FROM ngx.conversation WHERE shard = $1 AND id = $2", lane.shard, lane.id)


async def erase_user(connection: Connection, command: c.EraseUser) -> dict[str, int]:
    """Rows erased per kind. Raises ConversationBusy while a turn is open; locks all lanes of the user first."""
    who = (command.owner.tenant, command.owner.user)
    lanes = await connection.fetch(
        f"SELECT shard, id, pending FROM ngx.conversation WHERE {_MINE} ORDER BY id FOR UPDATE", *who
    )
    for shard, conversation_id, pending in lanes:
        if pending > 0:
            raise ConversationBusy(await _open_turn(connection, shard, conversation_id))
    erased = {}
    for table in ("checkpoint", "effect"):
        erased[table] = await _delete(connection, f"ngx.{table} WHERE turn_id IN ({_TURNS_OF_USER})", *who)
    erased["turn"] = await _delete(connection, f"ngx.turn WHERE id IN ({_TURNS_OF_USER})", *who)
    erased["message"] = await _delete(
        connection,
        "ngx.message m USING ngx.conversation v WHERE v.shard = m.shard AND v.id = m.conversation_id"
        " AND v.tenant = $1 AND v.user_id = $2",
        *who,
    )
    erased["state"] = await _delete(
        connection,
        "ngx.state s USING ngx.conversation v WHERE v.shard = s.shard AND v.id = s.conversation_id"
        " AND v.tenant = $1 AND v.user_id = $2",
        *who,
    )
    for table in ("idempotency", "log", "profile", "blob", "consent", "outbox", "webhook", "schedule"):
        where = f"ngx.{table} WHERE {_MINE} AND shard = $3"
        erased[table] = await _delete(connection, where, *who, shard_of(command.owner.user))
    inputs = f"ngx.batch_item WHERE shard = $3 AND batch_id IN (SELECT id FROM ngx.batch WHERE {_MINE})"
    await _delete(connection, inputs, *who, shard_of(command.owner.user))
    for table in ("artifact", "batch", "conversation"):
        erased[table] = await _delete(connection, f"ngx.{table} WHERE {_MINE}", *who)
    return erased


async def _open_turn(connection: Connection, shard: int, conversation_id: str) -> str:
    found: str = await connection.fetchval(
        "SELECT id FROM ngx.turn WHERE shard = $1 AND conversation_id = $2 AND status IN ('queued', 'running')"
        " ORDER BY number LIMIT 1",
        shard,
        conversation_id,
    )
    return found


async def _delete(connection: Connection, where: str, *values: object) -> int:
    status = await connection.execute(f"DELETE FROM {where}", *values)
    return int(status.split()[-1])
