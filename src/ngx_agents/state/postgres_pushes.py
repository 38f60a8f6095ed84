"""The outbox on Postgres: who sends what next, and what became of it. Nobody waits for an entry that another claims."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.state import push_commands as p
from ngx_agents.state.ids import shard_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.sqlite_pushes import dead_push, dead_reason, due_push

_CLAIM = """
WITH placed AS (
  SELECT o.shard, o.number, coalesce(h.count, 0)
    + row_number() OVER (PARTITION BY o.tenant, o.user_id ORDER BY o.due_at, o.number) AS place
  FROM ngx.outbox o LEFT JOIN unnest($6::text[], $7::text[], $8::int[]) AS h (tenant, user_id, count)
    ON h.tenant = o.tenant AND h.user_id = o.user_id
  WHERE o.dead_reason IS NULL AND o.due_at <= $2 AND o.claimed_until <= $2 AND NOT EXISTS (
    SELECT FROM ngx.outbox b WHERE b.shard = o.shard AND b.subject = o.subject AND b.webhook_id = o.webhook_id
      AND b.dead_reason IS NULL AND b.number < o.number)
), due AS (
  SELECT o.shard, o.number FROM placed p JOIN ngx.outbox o ON o.shard = p.shard AND o.number = p.number
  WHERE p.place <= $5 AND o.dead_reason IS NULL AND o.due_at <= $2 AND o.claimed_until <= $2
  ORDER BY p.place, o.due_at, o.number LIMIT $4 FOR UPDATE OF o SKIP LOCKED
), taken AS (
  UPDATE ngx.outbox o SET claimed_by = $1, claimed_until = $3 FROM due
  WHERE o.shard = due.shard AND o.number = due.number RETURNING o.*
)
SELECT o.number, o.tenant, o.user_id, o.kind, o.subject, o.webhook_id, o.url, o.body, o.turn_id, o.status, o.content,
  o.is_last, o.at, o.step, o.attempts, t.agent
FROM taken o LEFT JOIN ngx.turn t ON t.shard = o.shard AND t.id = o.subject ORDER BY o.due_at, o.number
"""
_DISABLE = """
WITH mine AS (
  SELECT shard, subject, webhook_id, kind, tenant, user_id FROM ngx.outbox
  WHERE shard = $1 AND number = $2 AND claimed_by = $3
), gone AS (
  DELETE FROM ngx.outbox o USING mine m
  WHERE o.shard = m.shard AND o.webhook_id = m.webhook_id AND o.kind = m.kind AND o.tenant = m.tenant
    AND o.user_id = m.user_id AND (o.subject = m.subject OR m.kind = 'standing')
)
UPDATE ngx.webhook w SET disabled_at = $4 FROM mine m
WHERE w.shard = m.shard AND w.id = m.webhook_id AND w.kind = m.kind AND (
  CASE WHEN m.kind = 'standing' THEN w.subject = w.id AND w.tenant = m.tenant AND w.user_id = m.user_id
  ELSE w.subject = m.subject END)
"""


async def add_post(connection: Connection, command: p.AddPost) -> None:
    await connection.execute(
        "INSERT INTO ngx.outbox (shard, tenant, user_id, kind, subject, webhook_id, url, body, content, is_last, at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, true, $10)",
        shard_of(command.owner.user),
        command.owner.tenant,
        command.owner.user,
        command.kind,
        command.subject,
        command.webhook_id,
        command.url,
        command.body,
        command.content,
        command.now,
    )


async def _claim(connection: Connection, command: p.ClaimPushes) -> tuple[p.DuePush, ...]:
    rows = await connection.fetch(
        _CLAIM,
        command.instance,
        command.now,
        command.now + command.lease_s,
        command.limit,
        command.per_owner,
        [owner.tenant for owner, _ in command.held],
        [owner.user for owner, _ in command.held],
        [count for _, count in command.held],
    )
    return tuple(due_push(row) for row in rows)


async def _settle(connection: Connection, command: p.SettlePush) -> None:
    mine = (shard_of(command.owner.user), command.number, command.instance)
    match command.verdict:
        case "sent":
            await connection.execute(
                "DELETE FROM ngx.outbox WHERE shard = $1 AND number = $2 AND claimed_by = $3", *mine
            )
        case "disabled":
            await connection.execute(_DISABLE, *mine, command.now)
        case "later" | "dead":
            await connection.execute(
                "UPDATE ngx.outbox SET step = $4, attempts = $5, due_at = $6, dead_reason = $7, claimed_by = NULL,"
                " claimed_until = 0 WHERE shard = $1 AND number = $2 AND claimed_by = $3",
                *mine,
                command.step,
                command.attempts,
                command.due_at,
                dead_reason(command),
            )


async def _list_dead(connection: Connection, question: p.ListDeadPushes) -> tuple[p.DeadPush, ...]:
    rows = await connection.fetch(
        "SELECT number, tenant, user_id, kind, subject, webhook_id, url, status, attempts, dead_reason, at"
        " FROM ngx.outbox WHERE dead_reason IS NOT NULL ORDER BY at DESC, number DESC LIMIT $1",
        question.limit,
    )
    return tuple(dead_push(row) for row in rows)


async def _replay(connection: Connection, command: p.ReplayPush) -> bool:
    found = await connection.fetchval(
        "UPDATE ngx.outbox SET dead_reason = NULL, attempts = 0, due_at = $5 WHERE shard = $1 AND number = $2"
        " AND tenant = $3 AND user_id = $4 AND dead_reason IS NOT NULL RETURNING 1",
        shard_of(command.owner.user),
        command.number,
        command.owner.tenant,
        command.owner.user,
        command.now,
    )
    return found is not None


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    p.AddPost: add_post,
    p.ClaimPushes: _claim,
    p.SettlePush: _settle,
    p.ReplayPush: _replay,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {p.ListDeadPushes: _list_dead}
