"""Letting go of what has had its time, on Postgres, and who may do it. What others are at work on is passed over.

The rows are chosen in a MATERIALIZED part: a subquery with LIMIT and SKIP LOCKED on the inner side of a nested loop
runs again for each outer row, passes over what it has deleted itself, and so deletes more than its limit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.state import state_commands as s
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_erasure import delete_conversation
from ngx_agents.state.postgres_retention import (
    count_of,
    expire_artifacts,
    expire_attachments,
    expire_logs,
    expire_messages,
)
from ngx_agents.state.postgres_rows import NO_SHARD
from ngx_agents.state.postgres_store import lock_lanes
from ngx_agents.state.postgres_user_batches import expire_batches

_KEYS = """
WITH k AS MATERIALIZED (
  SELECT shard, tenant, user_id, key FROM ngx.idempotency WHERE created_at < $1
  ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.idempotency i USING k
WHERE i.shard = k.shard AND i.tenant = k.tenant AND i.user_id = k.user_id AND i.key = k.key
"""
_TRACES = """
WITH k AS MATERIALIZED (
  SELECT e.shard, e.turn_id, e.key FROM ngx.{table} e JOIN ngx.turn t ON t.shard = e.shard AND t.id = e.turn_id
  WHERE t.finished_at < $1 AND t.status IN ('completed', 'failed', 'cancelled')
  LIMIT $2 FOR UPDATE OF e SKIP LOCKED)
DELETE FROM ngx.{table} x USING k
WHERE x.shard = k.shard AND x.turn_id = k.turn_id AND x.key = k.key
"""
_OLD = "SELECT id FROM ngx.conversation WHERE updated_at < $1 AND pending = 0 LIMIT $2 FOR UPDATE SKIP LOCKED"
_AUDIT = """
WITH k AS MATERIALIZED (
  SELECT shard, id FROM ngx.audit WHERE at < $1 ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.audit a USING k
WHERE a.shard = k.shard AND a.id = k.id
"""
_DEAD_POSTS = """
WITH k AS MATERIALIZED (
  SELECT shard, number FROM ngx.outbox WHERE dead_reason IS NOT NULL AND at < $1
  ORDER BY at, number LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.outbox o USING k
WHERE o.shard = k.shard AND o.number = k.number
"""
_ELECT = """
INSERT INTO ngx.election AS e (name, instance, expires_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET instance = excluded.instance, expires_at = excluded.expires_at
WHERE e.instance = excluded.instance OR e.expires_at <= clock_timestamp()
RETURNING 1
"""


async def expire(connection: Connection, command: s.Expire) -> int:
    s.check_expiry(command)
    return await _EXPIRE[command.kind](connection, command)


async def _expire_keys(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_KEYS, command.before, command.limit))


async def _expire_batches(connection: Connection, command: s.Expire) -> int:
    return await expire_batches(connection, before=command.before, limit=command.limit)


async def _expire_traces(connection: Connection, command: s.Expire) -> int:
    gone = 0
    for table in ("effect", "checkpoint"):
        status = await connection.execute(_TRACES.format(table=table), command.before, command.limit - gone)
        gone += count_of(status)
    return gone


async def _expire_conversations(connection: Connection, command: s.Expire) -> int:
    rows = await connection.fetch(_OLD, command.before, command.limit)
    lanes = await lock_lanes(connection, {row[0]: NO_SHARD for row in rows})
    for lane in lanes.values():
        await delete_conversation(connection, lane, with_artifacts=False)
    return len(lanes)


async def _expire_audit(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_AUDIT, command.before, command.limit))


async def _expire_dead_posts(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_DEAD_POSTS, command.before, command.limit))


async def try_elect(connection: Connection, command: s.TryElect) -> bool:
    found = await connection.fetchval(_ELECT, command.name, command.instance, command.lease_s)
    return found is not None


_EXPIRE: dict[s.ExpiryKind, Callable[[Connection, s.Expire], Awaitable[int]]] = {
    "idempotency": _expire_keys,
    "turns": _expire_traces,
    "conversations": _expire_conversations,
    "batches": _expire_batches,
    "messages": expire_messages,
    "artifacts": expire_artifacts,
    "attachments": expire_attachments,
    "logs": expire_logs,
    "audit": _expire_audit,
    "outbox": _expire_dead_posts,
}
APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {s.Expire: expire, s.TryElect: try_elect}
