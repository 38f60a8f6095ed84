"""Schedules on Postgres. One that is fired is locked first; who finds it locked leaves it to the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.errors import NotFound, QuotaExceeded
from ngx_agents.state import commands as c
from ngx_agents.state import schedule_commands as s
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_rows import storable
from ngx_agents.state.postgres_store import load, write
from ngx_agents.state.postgres_webhooks import note_event
from ngx_agents.state.schedules import acceptance, anew, told_of_firing, weekdays_read, weekdays_stored
from ngx_agents.state.user_batches import grant_of

_SCHEDULE = """
SELECT id, tenant, user_id, at, weekdays, zone, text, conversation_id, created_at, next_at, agent, locale, is_paused,
  last_due_at, last_run_at, last_turn_id, skipped FROM ngx.schedule
"""
_MINE = "shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_PUT = """
INSERT INTO ngx.schedule AS v (shard, id, tenant, user_id, at, weekdays, zone, text, conversation_id, created_at,
  next_at, agent, locale, is_paused) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
ON CONFLICT (shard, id) DO UPDATE SET at = excluded.at, weekdays = excluded.weekdays, zone = excluded.zone,
  text = excluded.text, conversation_id = excluded.conversation_id, next_at = excluded.next_at, agent = excluded.agent,
  locale = excluded.locale, is_paused = excluded.is_paused
WHERE v.tenant = excluded.tenant AND v.user_id = excluded.user_id
"""
_DUE = f"""
{_SCHEDULE} WHERE NOT is_paused AND next_at <= $1 AND (next_at, id) > ($2, $3) ORDER BY next_at, id LIMIT $4
"""


def _place(name: str, owner: Owner) -> tuple[int, str, str, str]:
    return shard_of(owner.user), name, owner.tenant, owner.user


def _schedule(row: Any) -> s.Schedule:
    return s.Schedule(
        id=row[0], owner=Owner(row[1], row[2]), at=row[3], weekdays=weekdays_read(row[4]), zone=row[5], text=row[6],
        conversation_id=row[7], created_at=row[8], next_at=row[9], agent=row[10], locale=row[11], is_paused=row[12],
        last_due_at=row[13], last_run_at=row[14], last_turn_id=row[15], skipped=row[16],
    )  # fmt: skip


async def _put(connection: Connection, command: s.PutSchedule) -> None:
    one = command.schedule
    await connection.execute(_ONE_AT_A_TIME, f"schedule {one.owner.tenant} {one.owner.user}")
    others = await connection.fetchval(
        "SELECT count(*) FROM ngx.schedule WHERE tenant = $1 AND user_id = $2 AND id <> $3",
        one.owner.tenant,
        one.owner.user,
        one.id,
    )
    if others >= command.max_schedules:
        raise QuotaExceeded(f"{command.max_schedules} schedules are there already", retry_after_s=3600.0)
    await connection.execute(
        _PUT,
        *_place(one.id, one.owner),
        one.at,
        weekdays_stored(one.weekdays),
        one.zone,
        storable(one.text),
        one.conversation_id,
        one.created_at,
        one.next_at,
        one.agent,
        one.locale,
        one.is_paused,
    )


async def _delete(connection: Connection, command: s.DeleteSchedule) -> bool:
    status = await connection.execute(f"DELETE FROM ngx.schedule WHERE {_MINE}", *_place(command.id, command.owner))
    return bool(status == "DELETE 1")


async def fire_schedule(connection: Connection, command: s.FireSchedule, mark: tuple[str, int]) -> c.Fired | None:
    """As told in `FireSchedule`; the lane's changes are written with the writer's mark."""
    place = _place(command.id, command.owner)
    row = await connection.fetchrow(
        f"{_SCHEDULE} WHERE {_MINE} AND next_at = $5 AND NOT is_paused FOR NO KEY UPDATE SKIP LOCKED",
        *place,
        command.seen_at,
    )
    if row is None:
        return None
    told = acceptance(command, _schedule(row))
    lanes = await load(connection, [told])
    try:
        accepted = lanes.apply(told)
    except NotFound:
        lanes.apply(anew(told))
        accepted = lanes.apply(told)
    await write(connection, lanes.changes, mark)
    await connection.execute(
        "UPDATE ngx.schedule SET next_at = $5, last_due_at = $6, last_run_at = $7, last_turn_id = $8,"
        f" skipped = skipped + $9 WHERE {_MINE}",
        *place,
        command.next_at,
        command.due_at,
        command.now,
        command.turn_id,
        command.skipped,
    )
    data = told_of_firing(command)
    await note_event(connection, command.owner, "schedule.sent", subject=command.id, data=data, now=command.now)
    return c.Fired(grant=grant_of(told, accepted) if accepted.epoch is not None else None)


async def _get(connection: Connection, question: s.GetSchedule) -> s.Schedule | None:
    row = await connection.fetchrow(f"{_SCHEDULE} WHERE {_MINE}", *_place(question.id, question.owner))
    return _schedule(row) if row else None


async def _list(connection: Connection, question: s.ListSchedules) -> tuple[s.Schedule, ...]:
    rows = await connection.fetch(
        f"{_SCHEDULE} WHERE tenant = $1 AND user_id = $2 ORDER BY created_at, id",
        question.owner.tenant,
        question.owner.user,
    )
    return tuple(_schedule(row) for row in rows)


async def _due(connection: Connection, question: s.DueSchedules) -> tuple[s.Schedule, ...]:
    rows = await connection.fetch(_DUE, question.now, *question.after, question.limit)
    return tuple(_schedule(row) for row in rows)


async def export_schedules(connection: Connection, owner: Owner) -> tuple[s.Schedule, ...]:
    return await _list(connection, s.ListSchedules(owner=owner))


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    s.PutSchedule: _put,
    s.DeleteSchedule: _delete,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    s.GetSchedule: _get,
    s.ListSchedules: _list,
    s.DueSchedules: _due,
}
