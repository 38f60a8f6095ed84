"""Budget meters on Postgres. The shard of a meter is that of its name; its row is locked while a slice is taken."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.state import budget_commands as b
from ngx_agents.state.ids import shard_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import Row
from ngx_agents.state.postgres_rows import storable

_ROW = "INSERT INTO ngx.budget_meter (shard, name, ends_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
_LOCKED = "SELECT leased, cap FROM ngx.budget_meter WHERE shard = $1 AND name = $2 FOR UPDATE"
_TAKE = """
UPDATE ngx.budget_meter SET leased = least(leased + $3, $4), ends_at = $5, cap = $6,
  is_spent = coalesce(leased + $3 >= $6, false)
WHERE shard = $1 AND name = $2
"""
_GIVE = """
UPDATE ngx.budget_meter SET spent = least(spent + $3, $5), leased = greatest(0, least(leased - $4, $5)),
  is_spent = coalesce(leased - $4 >= cap, false)
WHERE shard = $1 AND name = $2
"""
_SPENT = """
SELECT m.name, m.leased, m.spent, m.ends_at FROM ngx.budget_meter m JOIN unnest($1::text[]) AS p (prefix)
  ON starts_with(m.name, p.prefix)
WHERE m.is_spent ORDER BY m.name LIMIT $2
"""
_FORGET = """
WITH k AS MATERIALIZED (
  SELECT shard, name FROM ngx.budget_meter WHERE ends_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM ngx.budget_meter m USING k
WHERE m.shard = k.shard AND m.name = k.name
"""


async def _take(connection: Connection, command: b.TakeBudget) -> b.Slice:
    place = (shard_of(command.meter), storable(command.meter))
    row = await connection.fetchrow(_LOCKED, *place)
    if row is None:
        await connection.execute(_ROW, *place, command.ends_at)
        row = await connection.fetchrow(_LOCKED, *place)
    assert row is not None, "it was just made or is held by who made it"
    leased, former_cap = row
    granted, cap = b.slice_granted(command, leased), b.cap_of(command)
    if granted or cap != former_cap:
        await connection.execute(_TAKE, *place, granted, b.MAX_AMOUNT, command.ends_at, cap)
    return b.Slice(granted=granted, leased=leased + granted)


async def _give(connection: Connection, command: b.GiveBudget) -> None:
    place = (shard_of(command.meter), storable(command.meter))
    await connection.execute(_GIVE, *place, command.spent, command.unused, b.MAX_AMOUNT)


async def _forget(connection: Connection, command: b.ForgetBudgets) -> int:
    status = await connection.execute(_FORGET, command.before, command.limit)
    return int(status.split()[-1])


async def _list(connection: Connection, question: b.ListMeters) -> tuple[b.Meter, ...]:
    rows = await connection.fetch(
        "SELECT name, leased, spent, ends_at FROM ngx.budget_meter WHERE starts_with(name, $1) ORDER BY name LIMIT $2",
        storable(question.prefix),
        question.limit,
    )
    return tuple(_meter(row) for row in rows)


async def _spent(connection: Connection, question: b.SpentMeters) -> tuple[b.Meter, ...]:
    rows = await connection.fetch(_SPENT, [storable(prefix) for prefix in question.prefixes], question.limit)
    return tuple(_meter(row) for row in rows)


def _meter(row: Row) -> b.Meter:
    return b.Meter(name=row[0], leased=row[1], spent=row[2], ends_at=row[3])


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    b.TakeBudget: _take,
    b.GiveBudget: _give,
    b.ForgetBudgets: _forget,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {b.ListMeters: _list, b.SpentMeters: _spent}
