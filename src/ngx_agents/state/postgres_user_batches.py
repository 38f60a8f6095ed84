"""Users' batches on Postgres: how their inputs are stored and become turns. Told of in `postgres_user_batch_lists`.

A batch's row is locked before the lanes of its inputs; who finds it locked takes nothing and looks again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from ngx_agents.errors import IdempotencyConflict, InvalidRequest, NotFound, Overloaded, QuotaExceeded
from ngx_agents.state import batch_commands as b
from ngx_agents.state import commands as c
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_erasure import delete_conversation
from ngx_agents.state.postgres_lanes import LaneBatch
from ngx_agents.state.postgres_pushes import add_post
from ngx_agents.state.postgres_rows import NO_SHARD, shard_in, storable
from ngx_agents.state.postgres_statements import columns_of
from ngx_agents.state.postgres_store import load, lock_lanes, write
from ngx_agents.state.postgres_user_batch_lists import count_items, get_batch, keyed_batch
from ngx_agents.state.postgres_webhooks import note_event
from ngx_agents.state.user_batches import acceptance, end_of, grant_of, post_of, told_of_batch

_encode = msgspec.json.Encoder().encode
_MINE = "shard = $1 AND id = $2 AND tenant = $3 AND user_id = $4"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_OPEN = """
SELECT count(*) FROM ngx.batch
WHERE tenant = $1 AND user_id = $2
  AND (status IN ('running', 'cancelling') OR (status = 'arriving' AND created_at > $3))
"""
_ADD = """
INSERT INTO ngx.batch_item (shard, batch_id, number, turn_id, conversation_id, is_own, text, custom_id, agent, locale)
SELECT $1, $2, * FROM unnest($3::integer[], $4::text[], $5::text[], $6::boolean[], $7::text[], $8::text[], $9::text[],
  $10::text[])
"""
_TAKE = f"""
SELECT taken FROM ngx.batch WHERE {_MINE} AND status = 'running' AND expires_at > $5 FOR NO KEY UPDATE SKIP LOCKED
"""
_NEXT = """
SELECT number, turn_id, conversation_id, is_own, text, custom_id, agent, locale FROM ngx.batch_item
WHERE shard = $1 AND batch_id = $2 AND number >= $3 ORDER BY number LIMIT $4
"""
_OPEN_TURNS = """
SELECT t.id FROM ngx.batch_item i JOIN ngx.turn t ON t.shard = i.shard AND t.id = i.turn_id
WHERE i.shard = $1 AND i.batch_id = $2 AND t.status IN ('queued', 'running') ORDER BY i.number
"""
_OLD = "(v.finished_at < $1 OR (v.status = 'arriving' AND v.created_at < $1))"
_OLD_ITEMS = f"""
SELECT i.shard, i.batch_id, i.number, i.conversation_id, i.is_own
FROM ngx.batch v JOIN ngx.batch_item i ON i.shard = v.shard AND i.batch_id = v.id WHERE {_OLD} LIMIT $2
"""


def _place(batch_id: str, owner: Owner) -> tuple[int, str, str, str]:
    return shard_of(owner.user), batch_id, owner.tenant, owner.user


async def _create(connection: Connection, command: b.CreateBatch) -> None:
    who = (command.owner.tenant, command.owner.user)
    await connection.execute(_ONE_AT_A_TIME, f"batch {who[0]} {who[1]}")
    if await connection.fetchval(_OPEN, *who, command.now - b.ARRIVES_WITHIN_S) >= command.max_open:
        raise QuotaExceeded(f"{command.max_open} batches are open already", retry_after_s=60.0)
    await connection.execute(
        "INSERT INTO ngx.batch (shard, id, tenant, user_id, status, created_at, expires_at)"
        " VALUES ($1, $2, $3, $4, 'arriving', $5, $6)",
        *_place(command.id, command.owner),
        command.now,
        command.expires_at,
    )


async def _refuse_unless_arriving(connection: Connection, batch_id: str, owner: Owner) -> None:
    statement = f"SELECT status FROM ngx.batch WHERE {_MINE} FOR NO KEY UPDATE"
    if await connection.fetchval(statement, *_place(batch_id, owner)) != "arriving":
        raise NotFound("no such batch is arriving")


async def _add_items(connection: Connection, command: b.AddBatchItems) -> None:
    await _refuse_unless_arriving(connection, command.batch_id, command.owner)
    shard = shard_of(command.owner.user)
    named = {item.conversation_id: item.number for item in command.items if not item.is_own}
    if named:
        found = await connection.fetch(
            "SELECT v.id FROM unnest($1::smallint[], $2::text[]) AS k (shard, id) JOIN ngx.conversation v"
            " ON v.shard = k.shard AND v.id = k.id WHERE v.tenant = $3 AND v.user_id = $4",
            [shard_in(one) for one in named],
            list(named),
            command.owner.tenant,
            command.owner.user,
        )
        for row in found:
            del named[row[0]]
    if named:
        raise InvalidRequest("no such conversation", field=f"items[{min(named.values())}].conversation_id")
    rows = [
        (i.number, i.turn_id, i.conversation_id, i.is_own, storable(i.text), i.custom_id, i.agent, i.locale)
        for i in command.items
    ]
    if rows:
        await connection.execute(_ADD, shard, command.batch_id, *columns_of(rows))


async def _start(connection: Connection, command: b.StartBatch) -> b.Batch:
    known = None
    if command.key is not None:
        await connection.execute(_ONE_AT_A_TIME, f"key {command.owner.tenant} {command.owner.user} {command.key}")
        known = await keyed_batch(connection, b.KeyedBatch(owner=command.owner, key=command.key))
    if known is not None and known[1] != command.hash:
        raise IdempotencyConflict("this idempotency key was used with another request")
    await _refuse_unless_arriving(connection, command.batch_id, command.owner)
    if known is not None:
        await _drop(connection, b.DropBatch(batch_id=command.batch_id, owner=command.owner))
        return known[0]
    await connection.execute(
        "UPDATE ngx.batch SET status = 'running', size = $5, key = $6, hash = $7, served_at = created_at,"
        f" webhook_url = $8, webhook_body = $9 WHERE {_MINE}",
        *_place(command.batch_id, command.owner),
        command.size,
        command.key,
        command.hash or None,
        command.webhook and command.webhook.url,
        command.webhook and command.webhook.body,
    )
    started = await get_batch(connection, b.GetBatch(id=command.batch_id, owner=command.owner))
    assert started is not None
    return started


async def _drop(connection: Connection, command: b.DropBatch) -> bool:
    status = await connection.execute(
        f"DELETE FROM ngx.batch WHERE {_MINE} AND status = 'arriving'", *_place(command.batch_id, command.owner)
    )
    if status == "DELETE 0":
        return False
    await connection.execute(
        "DELETE FROM ngx.batch_item WHERE shard = $1 AND batch_id = $2",
        shard_of(command.owner.user),
        command.batch_id,
    )
    return True


async def take_items(connection: Connection, command: b.TakeItems, mark: tuple[str, int]) -> b.Taken:
    """As told in `TakeItems`; the lanes' changes are written with the writer's mark."""
    place = _place(command.batch_id, command.owner)
    first = await connection.fetchval(_TAKE, *place, command.now)
    if first is None:
        return b.Taken()
    rows = await connection.fetch(_NEXT, place[0], command.batch_id, first, command.limit)
    items = [_item(row) for row in rows]
    told = [acceptance(command, item) for item in items]
    lanes = await load(connection, told)
    grants: list[c.Grant] = []
    lost: list[int] = []
    for item, accept in zip(items, told, strict=True):
        try:
            grants.append(_begun(lanes, item, accept))
        except NotFound:
            lost.append(item.number)
        except Overloaded:
            break
    await write(connection, lanes.changes, mark)
    moved = len(grants) + len(lost)
    await _move_on(connection, command, first, moved, lost)
    return b.Taken(grants=tuple(grants), moved=moved)


def _item(row: Any) -> b.BatchItem:
    return b.BatchItem(
        number=row[0], turn_id=row[1], conversation_id=row[2], is_own=row[3], text=row[4], custom_id=row[5],
        agent=row[6], locale=row[7],
    )  # fmt: skip


def _begun(lanes: LaneBatch, item: b.BatchItem, accept: c.AcceptTurn) -> c.Grant:
    if item.is_own:
        made = c.CreateConversation(
            id=item.conversation_id, owner=accept.owner, title="", now=accept.now, is_listed=False
        )
        lanes.apply(made)
    return grant_of(accept, lanes.apply(accept))


async def _move_on(connection: Connection, command: b.TakeItems, first: int, moved: int, lost: list[int]) -> None:
    shard = shard_of(command.owner.user)
    await connection.execute(
        "UPDATE ngx.batch SET taken = taken + $3, served_at = $4 WHERE shard = $1 AND id = $2",
        shard,
        command.batch_id,
        moved,
        command.now,
    )
    await connection.execute(
        "UPDATE ngx.batch_item SET text = '', code = CASE WHEN number = ANY ($5::integer[]) THEN 'not_found' END"
        " WHERE shard = $1 AND batch_id = $2 AND number >= $3 AND number < $4",
        shard,
        command.batch_id,
        first,
        first + moved,
        lost,
    )


async def _cancel(connection: Connection, command: b.CancelBatch) -> tuple[str, ...]:
    place = _place(command.batch_id, command.owner)
    status = await connection.fetchval(f"SELECT status FROM ngx.batch WHERE {_MINE} FOR NO KEY UPDATE", *place)
    if status is None or status == "arriving":
        raise NotFound("no such batch")
    await connection.execute(f"UPDATE ngx.batch SET status = 'cancelling' WHERE {_MINE} AND status = 'running'", *place)
    return await _open_turns(connection, *place[:2])


async def _open_turns(connection: Connection, shard: int, batch_id: str) -> tuple[str, ...]:
    return tuple(row[0] for row in await connection.fetch(_OPEN_TURNS, shard, batch_id))


async def _settle(connection: Connection, command: b.SettleBatch) -> b.Batch | None:
    place = _place(command.batch_id, command.owner)
    row = await connection.fetchrow(
        f"SELECT taken, webhook_url, webhook_body FROM ngx.batch WHERE {_MINE}"
        " AND status IN ('running', 'cancelling') FOR NO KEY UPDATE",
        *place,
    )
    batch = await get_batch(connection, b.GetBatch(id=command.batch_id, owner=command.owner))
    if row is None or batch is None:
        return None
    taken, url, body = row
    ended = end_of(batch, taken=taken, now=command.now)
    if ended is None or await _open_turns(connection, *place[:2]):
        return None
    counts = await count_items(connection, *place[:2], size=batch.counts.total, status=ended)
    await connection.execute(
        f"UPDATE ngx.batch SET status = $5, finished_at = $6, counts = $7 WHERE {_MINE}",
        *place,
        ended,
        command.now,
        _encode(counts),
    )
    await connection.execute(
        "UPDATE ngx.batch_item SET text = '' WHERE shard = $1 AND batch_id = $2 AND number >= $3", *place[:2], taken
    )
    batch = msgspec.structs.replace(batch, status=ended, finished_at=command.now, counts=counts)
    if url is not None:
        await add_post(connection, post_of(batch, url, body))
    data = told_of_batch(batch)
    await note_event(connection, batch.owner, f"batch.{ended}", subject=batch.id, data=data, now=command.now)
    return batch


async def expire_batches(connection: Connection, *, before: float, limit: int) -> int:
    """Lets go of ended batches, their inputs, and the conversations made for these; of those that never arrived too."""
    rows = await connection.fetch(_OLD_ITEMS, before, limit)
    lanes = await lock_lanes(connection, {row[3]: NO_SHARD for row in rows if row[4]})
    for lane in lanes.values():
        if lane.pending > 0 or lane.next_turn > 2:  # the user went on talking in it: it becomes an ordinary one
            statement = "UPDATE ngx.conversation SET is_listed = true WHERE shard = $1 AND id = $2"
            await connection.execute(statement, lane.shard, lane.id)
        else:
            await delete_conversation(connection, lane)
    if rows:
        await connection.execute(
            "DELETE FROM ngx.batch_item i USING unnest($1::smallint[], $2::text[], $3::integer[]) AS k"
            " (shard, batch_id, number) WHERE i.shard = k.shard AND i.batch_id = k.batch_id AND i.number = k.number",
            *columns_of([tuple(row)[:3] for row in rows]),
        )
    if len(rows) < limit:
        await connection.execute(f"DELETE FROM ngx.batch v WHERE {_OLD}", before)
    return len(rows)


APPLY: dict[type, Callable[[Connection, Any], Awaitable[Any]]] = {
    b.CreateBatch: _create,
    b.AddBatchItems: _add_items,
    b.StartBatch: _start,
    b.DropBatch: _drop,
    b.CancelBatch: _cancel,
    b.SettleBatch: _settle,
}
