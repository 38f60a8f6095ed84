"""Questions of the server itself and of its operators: keys, instances, who runs a turn, dead turns."""

from __future__ import annotations

from ngx_agents.state import commands as c
from ngx_agents.state.model import Page
from ngx_agents.state.pages import NEWEST, page, place_of
from ngx_agents.state.postgres_connections import Connection
from ngx_agents.state.postgres_records import KEY, TURN, api_key, turn
from ngx_agents.state.postgres_rows import shard_in


async def find_key(connection: Connection, question: c.FindKey) -> c.ApiKey | None:
    shard = question.digest[0] if question.digest else 0
    row = await connection.fetchrow(f"{KEY} WHERE shard = $1 AND digest = $2", shard, question.digest)
    return api_key(row) if row else None


async def keys_that_hold(connection: Connection, question: c.KeysThatHold) -> tuple[tuple[bytes, float | None], ...]:
    shards = [digest[0] if digest else 0 for digest in question.digests]
    rows = await connection.fetch(
        "SELECT k.digest, k.expires_at FROM unnest($1::smallint[], $2::bytea[]) AS a (shard, digest)"
        " JOIN ngx.api_key k ON k.shard = a.shard AND k.digest = a.digest"
        " WHERE k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > $3)",
        shards,
        list(question.digests),
        question.now,
    )
    return tuple((row[0], row[1]) for row in rows)


async def list_keys(connection: Connection, question: c.ListKeys) -> tuple[c.ApiKey, ...]:
    return tuple(api_key(row) for row in await connection.fetch(f"{KEY} ORDER BY created_at, id"))


async def holder_of(connection: Connection, question: c.HolderOf) -> c.Holder | None:
    row = await connection.fetchrow(
        "SELECT v.lane_owner, v.epoch, i.address FROM ngx.turn t"
        " JOIN ngx.conversation v ON v.shard = t.shard AND v.id = t.conversation_id AND v.running = t.id"
        " JOIN ngx.instance i ON i.id = v.lane_owner AND i.expires_at > statement_timestamp()"
        " WHERE t.shard = $1 AND t.id = $2 AND t.tenant = $3 AND t.user_id = $4",
        shard_in(question.turn_id),
        question.turn_id,
        question.owner.tenant,
        question.owner.user,
    )
    return c.Holder(instance=row[0], epoch=row[1], address=row[2]) if row else None


async def held_lanes(connection: Connection, question: c.HeldLanes) -> tuple[c.HeldLane, ...]:
    rows = await connection.fetch(
        "SELECT id, running, epoch FROM ngx.conversation WHERE pending > 0 AND lane_owner = $1 AND running IS NOT NULL",
        question.instance,
    )
    return tuple(c.HeldLane(conversation_id=row[0], turn_id=row[1], epoch=row[2]) for row in rows)


async def list_instances(connection: Connection, question: c.ListInstances) -> tuple[c.Instance, ...]:
    rows = await connection.fetch(
        "SELECT i.id, i.address, (SELECT count(*) FROM ngx.conversation v WHERE v.pending > 0 AND v.lane_owner = i.id)"
        " FROM ngx.instance i WHERE i.expires_at > statement_timestamp() ORDER BY i.id"
    )
    return tuple(c.Instance(id=row[0], address=row[1], lanes=row[2]) for row in rows)


async def list_dead(connection: Connection, question: c.ListDead) -> Page:
    place = place_of(question.cursor) or NEWEST
    rows = await connection.fetch(
        f"{TURN} WHERE t.status = 'dead' AND (t.accepted_at, t.id) < ($1, $2)"
        " ORDER BY t.accepted_at DESC, t.id DESC LIMIT $3",
        *place,
        question.limit + 1,
    )
    return page([turn(row) for row in rows], question.limit, lambda item: (item.accepted_at, item.id))


async def get_position(connection: Connection, question: c.GetPosition) -> c.Position:
    """Of a primary what is flushed: the insert position may lie where no standby ever gets while nothing is written."""
    row = await connection.fetchrow(
        "SELECT CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_replay_lsn(), '0/0')"
        " ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn, pg_is_in_recovery(),"
        " (SELECT system_identifier FROM pg_control_system())"
    )
    assert row is not None
    return c.Position(place=int(row[0]), is_standby=row[1], system=row[2])


async def get_time(connection: Connection, question: c.GetTime) -> float:
    return float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))


async def list_shard_places(connection: Connection, question: c.ListShardPlaces) -> tuple[c.ShardPlace, ...]:
    if not await connection.fetchval("SELECT to_regclass('ngx.shard_place') IS NOT NULL"):
        return ()
    rows = await connection.fetch("SELECT shard, epoch, state, peer FROM ngx.shard_place ORDER BY shard")
    return tuple(c.ShardPlace(shard=row[0], epoch=row[1], state=row[2], peer=row[3]) for row in rows)
