"""Controls and the audit log on Postgres. Controls are in shard 0, under one lock, so that numbers follow commits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest, Overloaded
from ngx_agents.state import governance as g
from ngx_agents.state.model import Page
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import Row
from ngx_agents.state.postgres_rows import storable

LOCK = 0x6E6778_0002
"""The advisory lock's number: "ngx" and 2."""
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_CONTROL = "SELECT kind, id, body, number, changed_at FROM ngx.control WHERE shard = 0"
_PUT = """
INSERT INTO ngx.control AS c (shard, kind, id, body, number, changed_at)
VALUES (0, $1, $2, $3, (SELECT coalesce(max(number), 0) + 1 FROM ngx.control WHERE shard = 0), $4)
ON CONFLICT (shard, kind, id) DO UPDATE
SET body = excluded.body, number = excluded.number, changed_at = excluded.changed_at
"""


def _control(row: Row) -> g.Control:
    return g.Control(kind=row[0], id=row[1], body=row[2], number=row[3], changed_at=row[4])


async def _put_control(connection: Connection, command: g.PutControl) -> g.Control | None:
    if len(command.body) > g.MAX_CONTROL_BYTES:
        raise InvalidRequest(f"more than {g.MAX_CONTROL_BYTES} bytes", field="body")
    await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
    row = await connection.fetchrow(f"{_CONTROL} AND kind = $1 AND id = $2", command.kind, command.id)
    if row is None and await _is_full(connection, command):
        raise Overloaded("there are too many controls", retry_after_s=3600.0)
    await connection.execute(_PUT, command.kind, command.id, command.body, command.now)
    return _control(row) if row is not None and row[2] else None


async def _is_full(connection: Connection, command: g.PutControl) -> bool:
    """Also after the rows of removed controls went; the highest number stays, so that none is given twice."""
    count = await connection.fetchval(
        "SELECT count(*) FROM ngx.control WHERE (kind = 'revocation') = $1", command.kind == "revocation"
    )
    if count < g.most_of(command.kind):
        return False
    gone = await connection.execute(
        "DELETE FROM ngx.control WHERE body = '' AND changed_at < $1"
        " AND number < (SELECT max(number) FROM ngx.control)",
        command.now - g.REMOVED_KEPT_S,
    )
    return gone == "DELETE 0"


async def _forget_revocations(connection: Connection, command: g.ForgetRevocations) -> int:
    await connection.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
    gone = await connection.execute(
        "DELETE FROM ngx.control WHERE kind = 'revocation' AND id IN (SELECT id FROM ngx.control"
        " WHERE kind = 'revocation' AND body <> '' AND (convert_from(body, 'UTF8')::json->>'until')::float8 <= $1"
        " AND number < (SELECT max(number) FROM ngx.control) LIMIT $2)",
        command.now,
        command.limit,
    )
    return int(gone.split()[-1])


async def write_audit(connection: Connection, entry: g.AuditEntry, *, shard: int = 0) -> None:
    await connection.execute(
        "INSERT INTO ngx.audit (shard, id, at, actor, action, target, before, after)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        shard,
        entry.id,
        entry.at,
        storable(entry.actor),
        entry.action,
        storable(entry.target),
        _json(entry.before),
        _json(entry.after),
    )


async def _write_audit(connection: Connection, command: g.WriteAudit) -> None:
    await write_audit(connection, command.entry)


def _json(value: dict[str, Any] | None) -> bytes | None:
    return None if value is None else _encode(value)


def _entry(row: Row) -> g.AuditEntry:
    before, after = (None if one is None else _decode(one) for one in (row[5], row[6]))
    return g.AuditEntry(
        id=row[0], at=row[1], actor=row[2], action=row[3], target=row[4], before=before, after=after
    )  # fmt: skip


async def _list_controls(connection: Connection, question: g.ListControls) -> tuple[g.Control, ...]:
    rows = await connection.fetch(
        f"{_CONTROL} AND number > $1 ORDER BY number LIMIT $2", question.after, question.limit
    )
    return tuple(_control(row) for row in rows)


async def _list_audit(connection: Connection, question: g.ListAudit) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = await connection.fetch(
        "SELECT id, at, actor, action, target, before, after FROM ngx.audit WHERE (at, id) < ($1, $2)"
        " AND ($3::text IS NULL OR target = $3) ORDER BY at DESC, id DESC LIMIT $4",
        *place,
        question.target,
        question.limit + 1,
    )
    return page([_entry(row) for row in rows], question.limit, lambda item: (item.at, item.id))


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    g.PutControl: _put_control,
    g.ForgetRevocations: _forget_revocations,
    g.WriteAudit: _write_audit,
}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    g.ListControls: _list_controls,
    g.ListAudit: _list_audit,
}
