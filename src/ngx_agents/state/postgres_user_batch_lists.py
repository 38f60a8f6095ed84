"""What Postgres tells of users' batches: where they stand, and what became of their inputs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import NotFound
from ngx_agents.state import batch_commands as b
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner, Page
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.user_batches import batch_place, item_count, next_number, results_page

_decode_counts = msgspec.json.Decoder(b.BatchCounts).decode
_BATCH = """
SELECT id, tenant, user_id, status, created_at, expires_at, finished_at, size, counts, hash, shard FROM ngx.batch
"""
_COUNT = """
SELECT t.status, i.number < v.taken, i.code, count(*)
FROM ngx.batch v JOIN ngx.batch_item i ON i.shard = v.shard AND i.batch_id = v.id
LEFT JOIN ngx.turn t ON t.shard = i.shard AND t.id = i.turn_id
WHERE v.shard = $1 AND v.id = $2 GROUP BY 1, 2, 3
"""
_RESULTS = """
SELECT i.number, i.turn_id, i.conversation_id, i.custom_id, i.code, t.status, t.answer, m.text
FROM ngx.batch_item i LEFT JOIN ngx.turn t ON t.shard = i.shard AND t.id = i.turn_id
LEFT JOIN ngx.message m ON m.shard = t.shard AND m.conversation_id = t.conversation_id AND m.seq = 2 * t.number
WHERE i.shard = $1 AND i.batch_id = $2 AND i.number >= $3 ORDER BY i.number LIMIT $4
"""
_OPEN = """
SELECT id, tenant, user_id, CASE WHEN status = 'running' AND expires_at > $1 THEN size - taken ELSE 0 END
FROM ngx.batch WHERE status IN ('running', 'cancelling') ORDER BY served_at, id LIMIT $2
"""


async def _batch(connection: Connection, row: Any) -> b.Batch:
    if row[8] is not None:
        counts = _decode_counts(row[8])
    else:
        counts = await count_items(connection, row[10], row[0], size=row[7], status=row[3])
    return b.Batch(
        id=row[0], owner=Owner(row[1], row[2]), status=row[3], created_at=row[4], expires_at=row[5],
        finished_at=row[6], counts=counts,
    )  # fmt: skip


async def count_items(
    connection: Connection, shard: int, batch_id: str, *, size: int, status: b.BatchStatus
) -> b.BatchCounts:
    """How many inputs stand where, counted by their turns."""
    return item_count(size, status, await connection.fetch(_COUNT, shard, batch_id))


async def get_batch(connection: Connection, question: b.GetBatch) -> b.Batch | None:
    row = await connection.fetchrow(
        f"{_BATCH} WHERE shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4 AND status <> 'arriving'",
        shard_of(question.owner.user),
        question.id,
        question.owner.tenant,
        question.owner.user,
    )
    return await _batch(connection, row) if row else None


async def keyed_batch(connection: Connection, question: b.KeyedBatch) -> tuple[b.Batch, bytes] | None:
    row = await connection.fetchrow(
        f"{_BATCH} WHERE shard = $1 AND tenant = $2 AND user_id = $3 AND key = $4",
        shard_of(question.owner.user),
        question.owner.tenant,
        question.owner.user,
        question.key,
    )
    return (await _batch(connection, row), row[9]) if row else None


async def _list(connection: Connection, question: b.ListBatches) -> Page:
    rows = await connection.fetch(
        f"{_BATCH} WHERE tenant = $1 AND user_id = $2 AND status <> 'arriving' AND (created_at, id) < ($3, $4)"
        " ORDER BY created_at DESC, id DESC LIMIT $5",
        question.owner.tenant,
        question.owner.user,
        *(place_of(question.cursor) or NEWEST),
        question.limit + 1,
    )
    return page([await _batch(connection, row) for row in rows], question.limit, batch_place)


async def _list_results(connection: Connection, question: b.ListBatchResults) -> Page:
    first = next_number(question.cursor)
    shard = shard_of(question.owner.user)
    batch = await connection.fetchrow(
        "SELECT status, taken FROM ngx.batch WHERE shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4"
        " AND status <> 'arriving'",
        shard,
        question.batch_id,
        question.owner.tenant,
        question.owner.user,
    )
    if batch is None:
        raise NotFound("no such batch")
    rows = await connection.fetch(_RESULTS, shard, question.batch_id, first, question.limit + 1)
    return results_page(rows, question.limit, status=batch[0], taken=batch[1])


async def _open(connection: Connection, question: b.OpenBatches) -> tuple[b.OpenBatch, ...]:
    rows = await connection.fetch(_OPEN, question.now, question.limit)
    return tuple(b.OpenBatch(id=row[0], owner=Owner(row[1], row[2]), waiting=row[3]) for row in rows)


async def export_batches(connection: Connection, owner: Owner) -> list[dict[str, Any]]:
    """The owner's batches, each with the inputs that no turn was made of."""
    rows = await connection.fetch(
        f"{_BATCH} WHERE tenant = $1 AND user_id = $2 ORDER BY created_at, id", owner.tenant, owner.user
    )
    waiting = "SELECT number, custom_id, text FROM ngx.batch_item WHERE shard = $1 AND batch_id = $2 AND text <> ''"
    return [
        {
            "batch": await _batch(connection, row),
            "waiting": [tuple(one) for one in await connection.fetch(f"{waiting} ORDER BY number", row[10], row[0])],
        }
        for row in rows
    ]


ANSWER: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    b.GetBatch: get_batch,
    b.KeyedBatch: keyed_batch,
    b.ListBatches: _list,
    b.ListBatchResults: _list_results,
    b.OpenBatches: _open,
}
