"""Users' batches on SQLite: how their inputs are stored, become turns, and are told of.

As everywhere in the writer, each function checks before its first write.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

import msgspec

from ngx_agents.errors import IdempotencyConflict, InvalidRequest, NotFound, Overloaded, QuotaExceeded
from ngx_agents.state import batch_commands as b
from ngx_agents.state import commands as c
from ngx_agents.state.model import Owner, Page
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.sqlite_erasure import forget_conversation
from ngx_agents.state.sqlite_pushes import add_post
from ngx_agents.state.sqlite_turns import accept_turn
from ngx_agents.state.sqlite_webhooks import note_event
from ngx_agents.state.user_batches import (
    acceptance,
    batch_place,
    end_of,
    grant_of,
    item_count,
    next_number,
    post_of,
    results_page,
    told_of_batch,
)

Connection = sqlite3.Connection
_encode = msgspec.json.Encoder().encode
_decode_counts = msgspec.json.Decoder(b.BatchCounts).decode
_MINE = "id = ? AND tenant = ? AND user = ?"


def _create(db: Connection, command: b.CreateBatch) -> None:
    who = (command.owner.tenant, command.owner.user)
    (count,) = db.execute(
        "SELECT count(*) FROM batch WHERE tenant = ? AND user = ? AND (status IN ('running', 'cancelling')"
        " OR (status = 'arriving' AND created_at > ?))",
        (*who, command.now - b.ARRIVES_WITHIN_S),
    ).fetchone()
    if count >= command.max_open:
        raise QuotaExceeded(f"{command.max_open} batches are open already", retry_after_s=60.0)
    db.execute(
        "INSERT INTO batch (id, tenant, user, status, created_at, expires_at) VALUES (?, ?, ?, 'arriving', ?, ?)",
        (command.id, *who, command.now, command.expires_at),
    )


def _refuse_unless_arriving(db: Connection, batch_id: str, owner: Owner) -> None:
    row = db.execute(f"SELECT status FROM batch WHERE {_MINE}", (batch_id, owner.tenant, owner.user)).fetchone()
    if row is None or row[0] != "arriving":
        raise NotFound("no such batch is arriving")


def _add_items(db: Connection, command: b.AddBatchItems) -> None:
    _refuse_unless_arriving(db, command.batch_id, command.owner)
    who = (command.owner.tenant, command.owner.user)
    for item in command.items:
        if not item.is_own:
            mine = "SELECT 1 FROM conversation WHERE id = ? AND tenant = ? AND user = ?"
            if db.execute(mine, (item.conversation_id, *who)).fetchone() is None:
                raise InvalidRequest("no such conversation", field=f"items[{item.number}].conversation_id")
    db.executemany(
        "INSERT INTO batch_item (batch_id, number, turn_id, conversation_id, is_own, text, custom_id, agent, locale)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (command.batch_id, i.number, i.turn_id, i.conversation_id, i.is_own, i.text, i.custom_id, i.agent, i.locale)
            for i in command.items
        ],
    )


def _start(db: Connection, command: b.StartBatch) -> b.Batch:
    known = None
    if command.key is not None:
        known = _keyed(db, b.KeyedBatch(owner=command.owner, key=command.key))
    if known is not None and known[1] != command.hash:
        raise IdempotencyConflict("this idempotency key was used with another request")
    _refuse_unless_arriving(db, command.batch_id, command.owner)
    if known is not None:
        _drop(db, b.DropBatch(batch_id=command.batch_id, owner=command.owner))
        return known[0]
    db.execute(
        "UPDATE batch SET status = 'running', size = ?, key = ?, hash = ?, served_at = created_at, webhook_url = ?,"
        " webhook_body = ? WHERE id = ?",
        (
            command.size,
            command.key,
            command.hash or None,
            command.webhook and command.webhook.url,
            command.webhook and command.webhook.body,
            command.batch_id,
        ),
    )
    started = _get(db, b.GetBatch(id=command.batch_id, owner=command.owner))
    assert started is not None
    return started


def _drop(db: Connection, command: b.DropBatch) -> bool:
    gone = db.execute(
        f"DELETE FROM batch WHERE {_MINE} AND status = 'arriving'",
        (command.batch_id, command.owner.tenant, command.owner.user),
    ).rowcount
    if gone:
        db.execute("DELETE FROM batch_item WHERE batch_id = ?", (command.batch_id,))
    return gone > 0


def _take(db: Connection, command: b.TakeItems) -> b.Taken:
    row = db.execute(
        f"SELECT taken FROM batch WHERE {_MINE} AND status = 'running' AND expires_at > ?",
        (command.batch_id, command.owner.tenant, command.owner.user, command.now),
    ).fetchone()
    if row is None:
        return b.Taken()
    first: int = row[0]
    rows = db.execute(
        "SELECT number, turn_id, conversation_id, is_own, text, custom_id, agent, locale FROM batch_item"
        " WHERE batch_id = ? AND number >= ? ORDER BY number LIMIT ?",
        (command.batch_id, first, command.limit),
    ).fetchall()
    grants: list[c.Grant] = []
    moved = 0
    for item in map(_item, rows):
        try:
            grants.append(_begin(db, command, item))
        except NotFound:
            db.execute(
                "UPDATE batch_item SET code = 'not_found' WHERE batch_id = ? AND number = ?",
                (command.batch_id, item.number),
            )
        except Overloaded:
            break
        moved += 1
    db.execute("UPDATE batch SET taken = taken + ?, served_at = ? WHERE id = ?", (moved, command.now, command.batch_id))
    db.execute(
        "UPDATE batch_item SET text = '' WHERE batch_id = ? AND number >= ? AND number < ?",
        (command.batch_id, first, first + moved),
    )
    return b.Taken(grants=tuple(grants), moved=moved)


def _item(row: tuple[Any, ...]) -> b.BatchItem:
    return b.BatchItem(
        number=row[0], turn_id=row[1], conversation_id=row[2], is_own=bool(row[3]), text=row[4], custom_id=row[5],
        agent=row[6], locale=row[7],
    )  # fmt: skip


def _begin(db: Connection, command: b.TakeItems, item: b.BatchItem) -> c.Grant:
    if item.is_own:
        db.execute(
            "INSERT INTO conversation (id, tenant, user, title, created_at, updated_at, is_listed)"
            " VALUES (?, ?, ?, '', ?, ?, 0)",
            (item.conversation_id, command.owner.tenant, command.owner.user, command.now, command.now),
        )
    told = acceptance(command, item)
    return grant_of(told, accept_turn(db, told))


def _cancel(db: Connection, command: b.CancelBatch) -> tuple[str, ...]:
    mine = (command.batch_id, command.owner.tenant, command.owner.user)
    if db.execute(f"SELECT 1 FROM batch WHERE {_MINE} AND status <> 'arriving'", mine).fetchone() is None:
        raise NotFound("no such batch")
    db.execute(f"UPDATE batch SET status = 'cancelling' WHERE {_MINE} AND status = 'running'", mine)
    return _open_turns(db, command.batch_id)


def _open_turns(db: Connection, batch_id: str) -> tuple[str, ...]:
    rows = db.execute(
        "SELECT t.id FROM batch_item i JOIN turn t ON t.id = i.turn_id"
        " WHERE i.batch_id = ? AND t.status IN ('queued', 'running') ORDER BY i.number",
        (batch_id,),
    )
    return tuple(row[0] for row in rows)


def _settle(db: Connection, command: b.SettleBatch) -> b.Batch | None:
    batch = _get(db, b.GetBatch(id=command.batch_id, owner=command.owner))
    if batch is None or batch.status not in ("running", "cancelling"):
        return None
    taken, url, body = db.execute(
        "SELECT taken, webhook_url, webhook_body FROM batch WHERE id = ?", (command.batch_id,)
    ).fetchone()
    ended = end_of(batch, taken=taken, now=command.now)
    if ended is None or _open_turns(db, command.batch_id):
        return None
    counts = _count(db, command.batch_id, batch.counts.total, status=ended)
    db.execute(
        "UPDATE batch SET status = ?, finished_at = ?, counts = ? WHERE id = ?",
        (ended, command.now, _encode(counts), command.batch_id),
    )
    db.execute("UPDATE batch_item SET text = '' WHERE batch_id = ? AND number >= ?", (command.batch_id, taken))
    batch = msgspec.structs.replace(batch, status=ended, finished_at=command.now, counts=counts)
    if url is not None:
        add_post(db, post_of(batch, url, body))
    note_event(db, batch.owner, f"batch.{ended}", subject=batch.id, data=told_of_batch(batch), now=command.now)
    return batch


_BATCH = "SELECT id, tenant, user, status, created_at, expires_at, finished_at, size, counts, hash FROM batch"


def _batch(db: Connection, row: tuple[Any, ...]) -> b.Batch:
    counts = _decode_counts(row[8]) if row[8] is not None else _count(db, row[0], row[7], status=row[3])
    return b.Batch(
        id=row[0], owner=Owner(row[1], row[2]), status=row[3], created_at=row[4], expires_at=row[5],
        finished_at=row[6], counts=counts,
    )  # fmt: skip


def _count(db: Connection, batch_id: str, size: int, *, status: b.BatchStatus) -> b.BatchCounts:
    rows = db.execute(
        "SELECT t.status, i.number < v.taken, i.code, count(*) FROM batch v JOIN batch_item i ON i.batch_id = v.id"
        " LEFT JOIN turn t ON t.id = i.turn_id WHERE v.id = ? GROUP BY 1, 2, 3",
        (batch_id,),
    )
    return item_count(size, status, rows.fetchall())


def _get(db: Connection, question: b.GetBatch) -> b.Batch | None:
    mine = (question.id, question.owner.tenant, question.owner.user)
    row = db.execute(f"{_BATCH} WHERE {_MINE} AND status <> 'arriving'", mine).fetchone()
    return _batch(db, row) if row else None


def _keyed(db: Connection, question: b.KeyedBatch) -> tuple[b.Batch, bytes] | None:
    row = db.execute(
        f"{_BATCH} WHERE tenant = ? AND user = ? AND key = ?",
        (question.owner.tenant, question.owner.user, question.key),
    ).fetchone()
    return (_batch(db, row), row[9]) if row else None


def _list(db: Connection, question: b.ListBatches) -> Page:
    rows = db.execute(
        f"{_BATCH} WHERE tenant = ? AND user = ? AND status <> 'arriving' AND (created_at, id) < (?, ?)"
        " ORDER BY created_at DESC, id DESC LIMIT ?",
        (question.owner.tenant, question.owner.user, *(place_of(question.cursor) or NEWEST), question.limit + 1),
    ).fetchall()
    return page([_batch(db, row) for row in rows], question.limit, batch_place)


def _list_results(db: Connection, question: b.ListBatchResults) -> Page:
    batch = db.execute(
        f"SELECT status, taken FROM batch WHERE {_MINE} AND status <> 'arriving'",
        (question.batch_id, question.owner.tenant, question.owner.user),
    ).fetchone()
    if batch is None:
        raise NotFound("no such batch")
    rows = db.execute(
        "SELECT i.number, i.turn_id, i.conversation_id, i.custom_id, i.code, t.status, t.answer,"
        " (SELECT text FROM message WHERE conversation_id = t.conversation_id AND seq = 2 * t.number)"
        " FROM batch_item i LEFT JOIN turn t ON t.id = i.turn_id"
        " WHERE i.batch_id = ? AND i.number >= ? ORDER BY i.number LIMIT ?",
        (question.batch_id, next_number(question.cursor), question.limit + 1),
    ).fetchall()
    return results_page(rows, question.limit, status=batch[0], taken=batch[1])


def _open(db: Connection, question: b.OpenBatches) -> tuple[b.OpenBatch, ...]:
    rows = db.execute(
        "SELECT id, tenant, user, CASE WHEN status = 'running' AND expires_at > ? THEN size - taken ELSE 0 END"
        " FROM batch WHERE status IN ('running', 'cancelling') ORDER BY served_at LIMIT ?",
        (question.now, question.limit),
    )
    return tuple(b.OpenBatch(id=row[0], owner=Owner(row[1], row[2]), waiting=row[3]) for row in rows)


def expire_batches(db: Connection, *, before: float, limit: int) -> int:
    """Lets go of ended batches, their inputs, and the conversations made for these; of those that never arrived too."""
    old = "(finished_at < ?1 OR (status = 'arriving' AND created_at < ?1))"
    rows = db.execute(
        f"SELECT i.batch_id, i.number, i.conversation_id, i.is_own FROM batch v JOIN batch_item i ON i.batch_id = v.id"
        f" WHERE {old} LIMIT ?2",
        (before, limit),
    ).fetchall()
    for batch_id, number, conversation_id, is_own in rows:
        if is_own:
            _let_go_of(db, conversation_id)
        db.execute("DELETE FROM batch_item WHERE batch_id = ? AND number = ?", (batch_id, number))
    if len(rows) < limit:
        db.execute(f"DELETE FROM batch WHERE {old}", (before,))
    return len(rows)


def _let_go_of(db: Connection, conversation_id: str) -> None:
    """One in which the user went on talking becomes an ordinary one."""
    kept = db.execute(
        "UPDATE conversation SET is_listed = 1 WHERE id = ? AND (pending > 0 OR next_turn > 2)", (conversation_id,)
    ).rowcount
    if not kept:
        db.execute(
            "DELETE FROM artifact WHERE turn_id IN (SELECT turn_id FROM message WHERE conversation_id = ?)",
            (conversation_id,),
        )
        forget_conversation(db, conversation_id)


def export_batches(db: Connection, owner: Owner) -> list[dict[str, Any]]:
    """The owner's batches, each with the inputs that no turn was made of."""
    rows = db.execute(f"{_BATCH} WHERE tenant = ? AND user = ? ORDER BY created_at, id", (owner.tenant, owner.user))
    waiting = "SELECT number, custom_id, text FROM batch_item WHERE batch_id = ? AND text <> '' ORDER BY number"
    return [{"batch": _batch(db, row), "waiting": db.execute(waiting, (row[0],)).fetchall()} for row in rows.fetchall()]


def erase_batches(db: Connection, owner: Owner) -> int:
    who = (owner.tenant, owner.user)
    db.execute("DELETE FROM batch_item WHERE batch_id IN (SELECT id FROM batch WHERE tenant = ? AND user = ?)", who)
    return db.execute("DELETE FROM batch WHERE tenant = ? AND user = ?", who).rowcount


APPLY: dict[type, Callable[[Connection, Any], Any]] = {
    b.CreateBatch: _create,
    b.AddBatchItems: _add_items,
    b.StartBatch: _start,
    b.DropBatch: _drop,
    b.TakeItems: _take,
    b.CancelBatch: _cancel,
    b.SettleBatch: _settle,
}
ANSWER: dict[type, Callable[[Connection, Any], Any]] = {
    b.GetBatch: _get,
    b.KeyedBatch: _keyed,
    b.ListBatches: _list,
    b.ListBatchResults: _list_results,
    b.OpenBatches: _open,
}
