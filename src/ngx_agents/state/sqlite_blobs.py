"""Attachments on SQLite. As in `sqlite_commands`: checks come before writes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from ngx_agents.errors import NotFound, StorageFull
from ngx_agents.state import blob_commands as b
from ngx_agents.state.model import Owner, Page
from ngx_agents.state.pages import NEWEST, page, place_of

Connection = sqlite3.Connection
_INFO = "SELECT id, media_type, size_bytes, sha256, created_at, conversation_id, name, place"
_MINE = "tenant = ? AND user = ?"


def _info(row: tuple[Any, ...]) -> b.BlobInfo:
    return b.BlobInfo(
        id=row[0], media_type=row[1], size_bytes=row[2], sha256=row[3], created_at=row[4], conversation_id=row[5],
        name=row[6], place=row[7],
    )  # fmt: skip


def _put(db: Connection, command: b.PutBlob) -> None:
    info, who = command.blob.info, (command.owner.tenant, command.owner.user)
    if info.conversation_id is not None:
        place = (info.conversation_id, *who)
        if db.execute(f"SELECT 1 FROM conversation WHERE id = ? AND {_MINE}", place).fetchone() is None:
            raise NotFound("no such conversation")
    if command.most_bytes is not None:
        (held,) = db.execute(
            f"SELECT coalesce(sum(size_bytes), 0) FROM blob WHERE {_MINE} AND id <> ?", (*who, info.id)
        ).fetchone()
        if held + info.size_bytes > command.most_bytes:
            raise StorageFull(limit_bytes=command.most_bytes)
    db.execute(
        "INSERT OR IGNORE INTO blob (id, tenant, user, conversation_id, media_type, sha256, created_at, data,"
        " size_bytes, name, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            info.id,
            *who,
            info.conversation_id,
            info.media_type,
            info.sha256,
            info.created_at,
            command.blob.data,
            info.size_bytes,
            info.name,
            info.place,
        ),
    )


def _delete(db: Connection, command: b.DeleteBlob) -> bool:
    who = (command.id, command.owner.tenant, command.owner.user)
    return db.execute(f"DELETE FROM blob WHERE id = ? AND {_MINE}", who).rowcount > 0


def _get(db: Connection, question: b.GetBlob) -> b.Blob | None:
    row = db.execute(
        f"{_INFO}, data FROM blob WHERE id = ? AND {_MINE}",
        (question.id, question.owner.tenant, question.owner.user),
    ).fetchone()
    return b.Blob(info=_info(row), data=row[8]) if row else None


def _find(db: Connection, question: b.FindBlobs) -> tuple[b.BlobInfo, ...]:
    named = ", ".join("?" * len(question.ids))
    rows = db.execute(
        f"{_INFO} FROM blob WHERE {_MINE} AND id IN ({named})",
        (question.owner.tenant, question.owner.user, *question.ids),
    )
    return b.in_order(question.ids, {row[0]: _info(row) for row in rows})


def _list(db: Connection, question: b.ListBlobs) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = db.execute(
        f"{_INFO} FROM blob WHERE {_MINE} AND (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?",
        (question.owner.tenant, question.owner.user, *place, question.limit + 1),
    ).fetchall()
    return page([_info(row) for row in rows], question.limit, lambda item: (item.created_at, item.id))


def _known(db: Connection, question: b.KnownBlobs) -> tuple[str, ...]:
    named = ", ".join("?" * len(question.ids))
    return tuple(row[0] for row in db.execute(f"SELECT place FROM blob WHERE id IN ({named})", question.ids))


def export_blobs(db: Connection, owner: Owner) -> list[b.BlobInfo]:
    """All of them, oldest first, without bytes."""
    rows = db.execute(f"{_INFO} FROM blob WHERE {_MINE} ORDER BY created_at, id", (owner.tenant, owner.user))
    return [_info(row) for row in rows]


APPLY: dict[type, Callable[[Connection, Any], Any]] = {b.PutBlob: _put, b.DeleteBlob: _delete}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    b.GetBlob: _get,
    b.FindBlobs: _find,
    b.ListBlobs: _list,
    b.KnownBlobs: _known,
}
