"""What users' own data are let go of by age, on Postgres: messages, artifacts, attachments, logs. Nothing of an open
turn; what others are at work on is passed over."""

from __future__ import annotations

from ngx_agents.state import state_commands as s
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_statements import columns_of

TITLE_CHARS = 80
_OLD_PAIRS = """
SELECT m.shard, m.conversation_id, (m.seq + 1) / 2 FROM ngx.message m
JOIN ngx.conversation v ON v.shard = m.shard AND v.id = m.conversation_id AND v.pending = 0
WHERE m.created_at < $1 AND NOT EXISTS (
  SELECT FROM ngx.message n WHERE n.shard = m.shard AND n.conversation_id = m.conversation_id AND n.created_at >= $1
    AND n.seq BETWEEN (m.seq + 1) / 2 * 2 - 1 AND (m.seq + 1) / 2 * 2)
GROUP BY 1, 2, 3 LIMIT $2
"""
_IDLE = """
SELECT v.shard, v.id FROM ngx.conversation v JOIN unnest($1::smallint[], $2::text[]) AS k (shard, id)
ON v.shard = k.shard AND v.id = k.id WHERE v.pending = 0 ORDER BY v.id FOR UPDATE OF v SKIP LOCKED
"""
_PAIRS = """unnest($1::smallint[], $2::text[], $3::integer[]) AS k (shard, lane, pair)
WHERE m.shard = k.shard AND m.conversation_id = k.lane AND m.seq BETWEEN 2 * k.pair - 1 AND 2 * k.pair"""
_OLD_ARTIFACTS = """
WITH k AS MATERIALIZED (
  SELECT x.shard, x.id FROM ngx.artifact x WHERE x.created_at < $1 AND NOT EXISTS (
    SELECT FROM ngx.conversation v WHERE v.shard = x.shard AND v.id = x.conversation_id AND v.pending > 0)
  ORDER BY x.created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.artifact a USING k
WHERE a.shard = k.shard AND a.id = k.id
"""
_OLD_BLOBS = """
WITH k AS MATERIALIZED (
  SELECT x.shard, x.id FROM ngx.blob x WHERE x.created_at < $1 AND NOT EXISTS (
    SELECT FROM ngx.turn t WHERE t.status IN ('queued', 'running') AND t.tenant = x.tenant AND t.user_id = x.user_id
      AND (t.conversation_id = x.conversation_id OR position(x.id IN t.attachments) > 0))
  ORDER BY x.created_at LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.blob b USING k
WHERE b.shard = k.shard AND b.id = k.id
"""
_OLD_LOGS = """
WITH k AS MATERIALIZED (
  SELECT shard, tenant, user_id, id FROM ngx.log WHERE kind = $1 AND at < $2
  ORDER BY at LIMIT $3 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.log l USING k
WHERE l.shard = k.shard AND l.tenant = k.tenant AND l.user_id = k.user_id AND l.id = k.id
"""


async def expire_messages(connection: Connection, command: s.Expire) -> int:
    """Questions go with their answers, their turns and what these left behind; how many such pairs."""
    found = await connection.fetch(_OLD_PAIRS, command.before, command.limit)
    if not found:
        return 0
    places = sorted({(row[0], row[1]) for row in found})
    idle = {(row[0], row[1]) for row in await connection.fetch(_IDLE, *columns_of(places))}
    pairs = [tuple(row) for row in found if (row[0], row[1]) in idle]
    if not pairs:
        return 0
    columns = columns_of(pairs)
    rows = await connection.fetch(f"SELECT DISTINCT m.turn_id FROM ngx.message m, {_PAIRS}", *columns)
    turns = [row[0] for row in rows]
    for table in ("checkpoint", "effect", "idempotency"):
        await connection.execute(f"DELETE FROM ngx.{table} WHERE turn_id = ANY ($1)", turns)
    await connection.execute("DELETE FROM ngx.turn WHERE id = ANY ($1)", turns)
    # a title that was made of the first message goes with it
    await connection.execute(
        "UPDATE ngx.conversation v SET title = '' FROM ngx.message m,"
        f" {_PAIRS} AND v.shard = k.shard AND v.id = k.lane AND v.title = left(m.text, {TITLE_CHARS})",
        *columns,
    )
    await connection.execute(f"DELETE FROM ngx.message m USING {_PAIRS}", *columns)
    return len(pairs)


async def expire_artifacts(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_OLD_ARTIFACTS, command.before, command.limit))


async def expire_attachments(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_OLD_BLOBS, command.before, command.limit))


async def expire_logs(connection: Connection, command: s.Expire) -> int:
    return count_of(await connection.execute(_OLD_LOGS, command.log_kind, command.before, command.limit))


def count_of(status: str) -> int:
    """The rows that a statement's status tells of."""
    return int(status.split()[-1])
