"""Standing webhooks on Postgres: the rows of `webhook` that have an owner. Their subject is their own id."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.errors import NotFound, QuotaExceeded
from ngx_agents.state import webhook_commands as w
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_pushes import add_post

_WEBHOOK = """
SELECT w.id, w.tenant, w.user_id, w.url, w.body, w.events, w.created_at, w.is_paused, w.disabled_at, w.missed,
  o.waiting, o.dead
FROM ngx.webhook w CROSS JOIN LATERAL (
  SELECT count(*) FILTER (WHERE b.dead_reason IS NULL) AS waiting,
    count(*) FILTER (WHERE b.dead_reason IS NOT NULL) AS dead
  FROM ngx.outbox b WHERE b.tenant = w.tenant AND b.user_id = w.user_id AND b.webhook_id = w.id AND b.kind = 'standing'
) o WHERE w.tenant = $1 AND w.user_id = $2
"""
_MINE = "shard = $1 AND subject = $2 AND id = $2 AND tenant = $3 AND user_id = $4"
_ITS_ENTRIES = "shard = $1 AND webhook_id = $2 AND tenant = $3 AND user_id = $4 AND kind = 'standing'"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_CHANGE = f"""
UPDATE ngx.webhook SET url = coalesce($5, url), body = coalesce($6, body), events = coalesce($7, events),
  is_paused = coalesce($8, is_paused), disabled_at = CASE WHEN $9 THEN NULL ELSE disabled_at END
WHERE {_MINE} AND ($10::bytea IS NULL OR body = $10) RETURNING 1
"""


async def note_event(
    connection: Connection, owner: Owner, event: str, *, subject: str, data: object, now: float
) -> None:
    """Notes it for the owner's webhooks that asked for it."""
    await connection.execute(
        "SELECT ngx.note_event($1, $2, $3, $4, $5, $6, NULL, NULL, $7)",
        shard_of(owner.user),
        owner.tenant,
        owner.user,
        event,
        subject,
        w.told_of(event, data),
        now,
    )


def _place(told: w.ChangeWebhook | w.DeleteWebhook | w.TryWebhook) -> tuple[int, str, str, str]:
    return shard_of(told.owner.user), told.id, told.owner.tenant, told.owner.user


async def _create(connection: Connection, command: w.CreateWebhook) -> None:
    one = command.webhook
    await connection.execute(_ONE_AT_A_TIME, f"webhook {one.owner.tenant} {one.owner.user}")
    others = await connection.fetchval(
        "SELECT count(*) FROM ngx.webhook WHERE tenant = $1 AND user_id = $2", one.owner.tenant, one.owner.user
    )
    if others >= command.max_webhooks:
        raise QuotaExceeded(f"{command.max_webhooks} webhooks are there already", retry_after_s=3600.0)
    await connection.execute(
        "INSERT INTO ngx.webhook (shard, subject, id, kind, tenant, user_id, url, body, events, is_paused, created_at)"
        " VALUES ($1, $2, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        shard_of(one.owner.user),
        one.id,
        w.STANDING,
        one.owner.tenant,
        one.owner.user,
        one.url,
        one.body,
        w.events_stored(one.events),
        one.is_paused,
        one.created_at,
    )


async def _change(connection: Connection, command: w.ChangeWebhook) -> bool:
    place, events = _place(command), None if command.events is None else w.events_stored(command.events)
    found = await connection.fetchval(
        _CHANGE, *place, command.url, command.body, events, command.is_paused, command.revives, command.seen_body
    )
    if found is not None and (command.url is not None or command.body is not None):
        await connection.execute(
            f"UPDATE ngx.outbox SET url = coalesce($5, url), body = coalesce($6, body) WHERE {_ITS_ENTRIES}",
            *place,
            command.url,
            command.body,
        )
    return found is not None


async def _delete(connection: Connection, command: w.DeleteWebhook) -> bool:
    place = _place(command)
    gone = await connection.fetchval(f"DELETE FROM ngx.webhook WHERE {_MINE} RETURNING 1", *place)
    await connection.execute(f"DELETE FROM ngx.outbox WHERE {_ITS_ENTRIES}", *place)
    return gone is not None


async def _try(connection: Connection, command: w.TryWebhook) -> None:
    place = _place(command)
    row = await connection.fetchrow(f"SELECT url, body FROM ngx.webhook WHERE {_MINE} FOR NO KEY UPDATE", *place)
    if row is None:
        raise NotFound("there is no such webhook")
    waits = f"SELECT 1 FROM ngx.outbox WHERE {_ITS_ENTRIES} AND subject = $2 AND dead_reason IS NULL"
    if await connection.fetchval(waits, *place) is not None:
        raise QuotaExceeded("a test of this webhook waits to be sent", retry_after_s=w.TEST_AGAIN_S)
    await add_post(connection, w.post_of_trial(command, url=row[0], body=row[1]))


async def _get(connection: Connection, question: w.GetWebhook) -> w.Webhook | None:
    owner = question.owner
    row = await connection.fetchrow(f"{_WEBHOOK} AND w.id = $3", owner.tenant, owner.user, question.id)
    return w.webhook_of(row) if row else None


async def _list(connection: Connection, question: w.ListWebhooks) -> tuple[w.Webhook, ...]:
    owner = question.owner
    rows = await connection.fetch(f"{_WEBHOOK} ORDER BY w.created_at, w.id", owner.tenant, owner.user)
    return tuple(map(w.webhook_of, rows))


async def export_webhooks(connection: Connection, owner: Owner) -> list[dict[str, Any]]:
    return w.exported(await _list(connection, w.ListWebhooks(owner=owner)))


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    w.CreateWebhook: _create,
    w.ChangeWebhook: _change,
    w.DeleteWebhook: _delete,
    w.TryWebhook: _try,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {w.GetWebhook: _get, w.ListWebhooks: _list}
