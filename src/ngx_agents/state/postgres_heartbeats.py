"""Heartbeats of instances and the claiming of lanes that nobody living holds. All by the database's own time.

A lane is free when nobody holds it, or when its holder has no row that is still valid. Claiming raises the lane's
epoch, which is what stops a former holder from writing; the heartbeat only decides when to look.
"""

from __future__ import annotations

import msgspec

from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_lanes import LaneBatch
from ngx_agents.state.postgres_store import lock_lanes, read_open_turns

_BEAT = """
WITH before AS (SELECT expires_at > statement_timestamp() AS is_valid FROM ngx.instance WHERE id = $1)
INSERT INTO ngx.instance AS i (id, address, expires_at)
VALUES ($1, $2, statement_timestamp() + make_interval(secs => $3))
ON CONFLICT (id) DO UPDATE SET address = excluded.address, expires_at = excluded.expires_at
RETURNING coalesce((SELECT is_valid FROM before), false)
"""
# Lanes of a shard that moves stay where they are until it has arrived.
_NOT_FENCED = "<> ALL (ARRAY(SELECT shard FROM ngx.shard_place WHERE state IN ('frozen', 'gone', 'arriving')))"
_FREE = f"""
SELECT id, user_id FROM ngx.conversation WHERE pending > 0 AND lane_owner IS NULL AND shard {_NOT_FENCED}
ORDER BY sort_key LIMIT $1 FOR UPDATE SKIP LOCKED
"""
# One step of the index for each holder, not one for each lane that is held.
_GONE = """
WITH RECURSIVE holder AS (
  (SELECT lane_owner AS id FROM ngx.conversation WHERE pending > 0 AND lane_owner IS NOT NULL
   ORDER BY lane_owner LIMIT 1)
  UNION ALL
  SELECT (SELECT v.lane_owner FROM ngx.conversation v WHERE v.pending > 0 AND v.lane_owner > holder.id
          ORDER BY v.lane_owner LIMIT 1)
  FROM holder WHERE holder.id IS NOT NULL)
SELECT id FROM holder WHERE id IS NOT NULL AND id <> $1
  AND NOT EXISTS (SELECT FROM ngx.instance i WHERE i.id = holder.id AND i.expires_at > statement_timestamp())
"""
_LEFT_BEHIND = f"""
SELECT v.id, v.user_id FROM ngx.conversation v WHERE v.pending > 0 AND v.lane_owner = ANY($1)
  AND v.shard {_NOT_FENCED}
  AND NOT EXISTS (SELECT FROM ngx.instance i WHERE i.id = v.lane_owner AND i.expires_at > statement_timestamp())
ORDER BY v.sort_key LIMIT $2 FOR UPDATE OF v SKIP LOCKED
"""
_FORGET = "DELETE FROM ngx.instance WHERE expires_at < statement_timestamp() - interval '1 day'"


class ClaimLanes(msgspec.Struct, frozen=True, kw_only=True):
    """What the writer is handed for a claim. → list[Grant], most urgent first."""

    limit: int
    instance: str


async def beat(connection: Connection, command: c.Beat) -> bool:
    was_valid: bool = await connection.fetchval(_BEAT, command.instance, command.address, command.lease_s)
    if not was_valid:
        await connection.execute(_FORGET)
    return was_valid


async def leave(connection: Connection, command: c.Leave) -> None:
    await connection.execute("UPDATE ngx.instance SET expires_at = '-infinity' WHERE id = $1", command.instance)


async def claim_lanes(connection: Connection, command: ClaimLanes) -> tuple[LaneBatch, list[c.Grant]]:
    """What is to be written for the claim, and its grants. The lanes stay locked by the caller's transaction."""
    found = await connection.fetch(_FREE, command.limit)
    if len(found) < command.limit:
        gone = [row[0] for row in await connection.fetch(_GONE, command.instance)]
        if gone:
            found = [*found, *await connection.fetch(_LEFT_BEHIND, gone, command.limit - len(found))]
    lanes = await lock_lanes(connection, {row[0]: shard_of(row[1]) for row in found}) if found else {}
    if lanes:
        await read_open_turns(connection, list(lanes.values()))
    batch = LaneBatch(lanes, {})
    urgent_first = sorted(lanes.values(), key=lambda lane: lane.sort_key)
    grants = [batch.grant(lane, lane.open_turns[0], command.instance) for lane in urgent_first if lane.open_turns]
    return batch, grants
