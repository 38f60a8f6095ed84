"""Commands that change a waiting or dead turn: cancel, coalesce, replay. Inside a transaction of the caller's.

Each locks the turn's lane first; what it then reads of the turn is the newest.
"""

from __future__ import annotations

import msgspec

from ngx_agents.errors import NotFound, TurnFinished
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Answer
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_lanes import AGEING_S_PER_CLASS
from ngx_agents.state.postgres_rows import shard_in, storable
from ngx_agents.state.postgres_store import lock_lane
from ngx_agents.state.task_columns import stands_alone

COALESCED_CHARACTERS = 32_000
_CANCELLED_WAITING = msgspec.json.encode(Answer(code="cancelled", message="cancelled before it started"))


async def request_cancel(connection: Connection, command: c.RequestCancel) -> str:
    """A waiting turn ends here and now; a running one is marked, and its owner has to stop it."""
    place = (shard_in(command.turn_id), command.turn_id)
    conversation_id = await connection.fetchval(
        "SELECT conversation_id FROM ngx.turn WHERE shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4",
        *place,
        command.owner.tenant,
        command.owner.user,
    )
    lane = await lock_lane(connection, conversation_id) if conversation_id is not None else None
    status = await connection.fetchval("SELECT status FROM ngx.turn WHERE shard = $1 AND id = $2", *place)
    if lane is None or status is None:
        raise NotFound("no such turn")
    if status == "running":
        await connection.execute("UPDATE ngx.turn SET cancel_requested = true WHERE shard = $1 AND id = $2", *place)
        return "running"
    if status != "queued":
        raise TurnFinished(f"the turn has ended: {status}")
    await connection.execute(
        "UPDATE ngx.turn SET status = 'cancelled', cancel_requested = true, finished_at = $3, answer = $4"
        " WHERE shard = $1 AND id = $2",
        *place,
        command.now,
        _CANCELLED_WAITING,
    )
    await connection.execute(
        "UPDATE ngx.conversation SET pending = pending - 1 WHERE shard = $1 AND id = $2", lane.shard, lane.id
    )
    return "cancelled"


async def coalesce(connection: Connection, command: c.AcceptTurn) -> c.Accepted | None:
    """Takes the text into the lane's last waiting turn; None when none waits that is of the same kind (agent, class,
    nothing but text), or its message would become too long."""
    lane = await lock_lane(connection, command.conversation_id)
    if lane is None or lane.owner != command.owner or not stands_alone(command):
        return None
    rows = await connection.fetch(
        "SELECT id, number, status, agent IS NOT DISTINCT FROM $3 AND turn_class = $4 AND attachments IS NULL"
        " AND task_id IS NULL AND NOT watched FROM ngx.turn WHERE shard = $1 AND conversation_id = $2"
        " AND status IN ('queued', 'running') ORDER BY number",
        lane.shard,
        lane.id,
        command.agent,
        command.turn_class,
    )
    position = max((place for place, row in enumerate(rows) if row[2] == "queued"), default=None)
    if position is None or not rows[position][3]:
        return None
    turn_id, seq = rows[position][0], 2 * rows[position][1] - 1
    fitted = await connection.fetchval(
        "UPDATE ngx.message SET text = text || chr(10) || $4 WHERE shard = $1 AND conversation_id = $2 AND seq = $3"
        " AND length(text) + length($4) < $5 RETURNING 1",
        lane.shard,
        lane.id,
        seq,
        storable(command.text),
        COALESCED_CHARACTERS,
    )
    if fitted is None:
        return None
    return c.Accepted(turn_id=turn_id, position=position, user_seq=seq, coalesced=True)


async def remember_key(connection: Connection, command: c.AcceptTurn, turn_id: str) -> None:
    if command.idempotency_key is None:
        return
    await connection.execute(
        "INSERT INTO ngx.idempotency (shard, tenant, user_id, key, hash, turn_id, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        shard_of(command.owner.user),
        command.owner.tenant,
        command.owner.user,
        command.idempotency_key,
        command.idempotency_hash,
        turn_id,
        command.now,
    )


async def replay_turn(connection: Connection, command: c.ReplayTurn) -> None:
    place = (shard_in(command.turn_id), command.turn_id)
    conversation_id = await connection.fetchval(
        "SELECT conversation_id FROM ngx.turn WHERE shard = $1 AND id = $2", *place
    )
    lane = await lock_lane(connection, conversation_id) if conversation_id is not None else None
    row = await connection.fetchrow(
        "UPDATE ngx.turn SET status = 'queued', attempts = 0, cancel_requested = false, answer = NULL,"
        " finished_at = NULL, deadline_at = $3 WHERE shard = $1 AND id = $2 AND status = 'dead'"
        " RETURNING number, turn_class",
        *place,
        command.deadline_at,
    )
    if lane is None or row is None:
        raise NotFound("no such dead turn")
    await connection.execute(
        "DELETE FROM ngx.message WHERE shard = $1 AND conversation_id = $2 AND seq = $3",
        lane.shard,
        lane.id,
        2 * row[0],
    )
    sort_key = command.now + row[1] * AGEING_S_PER_CLASS
    await connection.execute(
        "UPDATE ngx.conversation SET pending = pending + 1,"
        " sort_key = CASE WHEN pending = 0 THEN $3 ELSE least(sort_key, $3) END WHERE shard = $1 AND id = $2",
        lane.shard,
        lane.id,
        sort_key,
    )
