"""Attachments on Postgres, each command inside a transaction of the caller's. Their shard is the owner's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ngx_agents.errors import NotFound, StorageFull
from ngx_agents.state import blob_commands as b
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner, Page
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import Row
from ngx_agents.state.postgres_rows import storable
from ngx_agents.state.postgres_store import lock_lane

_INFO = "SELECT id, media_type, size_bytes, sha256, created_at, conversation_id, name, place"
_MINE = "shard = $1 AND tenant = $2 AND user_id = $3"


def _who(owner: Owner) -> tuple[int, str, str]:
    return shard_of(owner.user), owner.tenant, owner.user


def _info(row: Row) -> b.BlobInfo:
    return b.BlobInfo(
        id=row[0], media_type=row[1], size_bytes=row[2], sha256=row[3], created_at=row[4], conversation_id=row[5],
        name=row[6], place=row[7],
    )  # fmt: skip


async def _put(connection: Connection, command: b.PutBlob) -> None:
    info, who = command.blob.info, _who(command.owner)
    if info.conversation_id is not None:
        lane = await lock_lane(connection, info.conversation_id)
        if lane is None or lane.owner != command.owner:
            raise NotFound("no such conversation")
    if command.most_bytes is not None:
        held = await connection.fetchval(
            f"SELECT coalesce(sum(size_bytes), 0) FROM ngx.blob WHERE {_MINE} AND id <> $4", *who, info.id
        )
        if held + info.size_bytes > command.most_bytes:
            raise StorageFull(limit_bytes=command.most_bytes)
    await connection.execute(
        "INSERT INTO ngx.blob (shard, tenant, user_id, id, conversation_id, media_type, sha256, created_at, data,"
        " size_bytes, name, place) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT DO NOTHING",
        *who,
        info.id,
        info.conversation_id,
        info.media_type,
        info.sha256,
        info.created_at,
        command.blob.data,
        info.size_bytes,
        storable(info.name) if info.name is not None else None,
        info.place,
    )


async def _delete(connection: Connection, command: b.DeleteBlob) -> bool:
    status = await connection.execute(
        f"DELETE FROM ngx.blob WHERE {_MINE} AND id = $4", *_who(command.owner), command.id
    )
    return not status.endswith(" 0")


async def _get(connection: Connection, question: b.GetBlob) -> b.Blob | None:
    row = await connection.fetchrow(
        f"{_INFO}, data FROM ngx.blob WHERE {_MINE} AND id = $4", *_who(question.owner), question.id
    )
    return b.Blob(info=_info(row), data=row[8]) if row is not None else None


async def _find(connection: Connection, question: b.FindBlobs) -> tuple[b.BlobInfo, ...]:
    rows = await connection.fetch(
        f"{_INFO} FROM ngx.blob WHERE {_MINE} AND id = ANY ($4)", *_who(question.owner), list(question.ids)
    )
    return b.in_order(question.ids, {row[0]: _info(row) for row in rows})


async def _list(connection: Connection, question: b.ListBlobs) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = await connection.fetch(
        f"{_INFO} FROM ngx.blob WHERE {_MINE} AND (created_at, id) < ($4, $5)"
        " ORDER BY created_at DESC, id DESC LIMIT $6",
        *_who(question.owner),
        *place,
        question.limit + 1,
    )
    return page([_info(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


async def _known(connection: Connection, question: b.KnownBlobs) -> tuple[str, ...]:
    rows = await connection.fetch("SELECT place FROM ngx.blob WHERE id = ANY ($1)", list(question.ids))
    return tuple(row[0] for row in rows)


async def export_blobs(connection: Connection, owner: Owner) -> list[b.BlobInfo]:
    """All of them, oldest first, without bytes."""
    rows = await connection.fetch(f"{_INFO} FROM ngx.blob WHERE {_MINE} ORDER BY created_at, id", *_who(owner))
    return [_info(row) for row in rows]


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {b.PutBlob: _put, b.DeleteBlob: _delete}
ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    b.GetBlob: _get,
    b.FindBlobs: _find,
    b.ListBlobs: _list,
    b.KnownBlobs: _known,
}
