"""The tables of a shard, found in the database itself, and what a move does to each: follow, fence, copy, compare.

Everything that bears a `shard` column belongs to it. Rows go over in binary through a short queue, whatever their
number; what changed meanwhile is named by primary key and goes over again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from ngx_agents.errors import JournalError
from ngx_agents.state.postgres_connections import Connection

OURS = ("shard_place", "shard_change")
QUEUED_CHUNKS = 16
BATCH = 5000
_TABLES = """
SELECT c.relname,
  array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE NOT a.attisdropped AND a.attgenerated = ''),
  (SELECT array_agg(k.attname::text ORDER BY o.place) FROM pg_index i
     CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS o (number, place)
     JOIN pg_attribute k ON k.attrelid = i.indrelid AND k.attnum = o.number
     WHERE i.indrelid = c.oid AND i.indisprimary),
  array_agg(a.attname::text) FILTER (WHERE a.attidentity <> '')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'ngx'
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relkind = 'r' AND c.relname <> ALL ($1)
  AND EXISTS (SELECT FROM pg_attribute s WHERE s.attrelid = c.oid AND s.attname = 'shard')
GROUP BY c.oid, c.relname ORDER BY c.relname
"""


class ShardTable(msgspec.Struct, frozen=True, kw_only=True):
    """`key` is the primary key's columns; `counted` those that the database numbers by itself."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    counted: tuple[str, ...]

    @property
    def matches(self) -> str:
        """True for the rows that a JSON array of keys, `k`, names."""
        return " AND ".join(f"t.{one} = r.{one}" for one in self.key)


async def tables_of(connection: Connection) -> tuple[ShardTable, ...]:
    rows = await connection.fetch(_TABLES, list(OURS))
    return tuple(
        ShardTable(name=row[0], columns=tuple(row[1]), key=tuple(row[2]), counted=tuple(row[3] or ())) for row in rows
    )


async def follow(connection: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    """From the commit on, every change of the shard is noted."""
    for table in tables:
        columns = ", ".join(f"'{one}'" for one in table.key)
        await _switch_on(connection, table, f"shard_{shard}_follow", f"AFTER|ngx.note_change({columns})", shard)


async def fence(connection: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    """From the commit on, nobody but a mover writes the shard here."""
    for table in tables:
        await _switch_on(connection, table, f"a_shard_{shard}_fence", "BEFORE|ngx.refuse_moved()", shard)


async def unfollow(connection: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    await _switch_off(connection, tables, f"shard_{shard}_follow")
    await connection.execute("DELETE FROM ngx.shard_change WHERE shard = $1", shard)


async def unfence(connection: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    await _switch_off(connection, tables, f"a_shard_{shard}_fence")


async def _switch_on(connection: Connection, table: ShardTable, name: str, what: str, shard: int) -> None:
    when, _, function = what.partition("|")
    for how, row in (("INSERT OR UPDATE", "NEW"), ("DELETE", "OLD")):
        await connection.execute(
            f"CREATE OR REPLACE TRIGGER {name}_{row.lower()} {when} {how} ON ngx.{table.name}"
            f" FOR EACH ROW WHEN ({row}.shard = {shard}) EXECUTE FUNCTION {function};"
            f" ALTER TABLE ngx.{table.name} ENABLE TRIGGER {name}_{row.lower()}"
        )


async def _switch_off(connection: Connection, tables: tuple[ShardTable, ...], name: str) -> None:
    """Disabled, not dropped: to drop it, readers would have to be kept out, and could be waited for in a ring."""
    rows = await connection.fetch(
        "SELECT c.relname, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid"
        " JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'ngx' AND t.tgname = ANY ($1)",
        [f"{name}_new", f"{name}_old"],
    )
    there = {(row[0], row[1]) for row in rows}
    for table in tables:
        for trigger in (f"{name}_new", f"{name}_old"):
            if (table.name, trigger) in there:
                await connection.execute(f"ALTER TABLE ngx.{table.name} DISABLE TRIGGER {trigger}")


async def purge(connection: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    """Deletes the shard's rows, some at a time. As a mover, past the fence."""
    for table in tables:
        gone = BATCH
        while gone == BATCH:
            async with connection.transaction():
                await connection.execute("SET LOCAL ngx.mover = 'on'")
                status = await connection.execute(
                    f"DELETE FROM ngx.{table.name} WHERE ctid = ANY (ARRAY("
                    f"SELECT ctid FROM ngx.{table.name} WHERE shard = $1 LIMIT {BATCH}))",
                    shard,
                )
            gone = int(status.split()[-1])


async def copy(source: Connection, target: Connection, table: ShardTable, where: str, *values: object) -> None:
    """Rows of the source's table into the target's, inside a transaction of the caller's there."""
    columns = ", ".join(f"t.{one}" for one in table.columns)
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_CHUNKS)

    async def read() -> None:
        try:
            query = f"SELECT {columns} FROM ngx.{table.name} t {where}"
            await source.copy_from_query(query, *values, output=chunks.put, format="binary")
        finally:
            await chunks.put(None)

    async def rows() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(read())
        await target.copy_to_table(
            table.name, schema_name="ngx", source=rows(), columns=list(table.columns), format="binary"
        )


async def copy_again(source: Connection, target: Connection, tables: tuple[ShardTable, ...], shard: int) -> int:
    """What changed since it was copied; how many rows that was. Forgotten at the source when the target has it."""
    async with source.transaction():
        noted = await source.fetch(
            "DELETE FROM ngx.shard_change WHERE number = ANY (ARRAY("
            "SELECT number FROM ngx.shard_change WHERE shard = $1 ORDER BY number LIMIT $2)) RETURNING tbl, key::text",
            shard,
            BATCH,
        )
        async with target.transaction():
            await target.execute("SET LOCAL ngx.mover = 'on'")
            for table in tables:
                keys = {row[1] for row in noted if row[0] == table.name}
                if keys:
                    await _replace(source, target, table, f"[{','.join(sorted(keys))}]")
    return len(noted)


async def _replace(source: Connection, target: Connection, table: ShardTable, keys: str) -> None:
    named = f"jsonb_populate_recordset(NULL::ngx.{table.name}, $1::text::jsonb) r"
    await target.execute(f"DELETE FROM ngx.{table.name} t USING {named} WHERE {table.matches}", keys)
    await copy(source, target, table, f"JOIN {named} ON {table.matches}", keys)


async def count_on(target: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
    """Numbers that the target gives from now on are above those that came with the shard."""
    for table in tables:
        for column in table.counted:
            await target.execute(
                f"SELECT setval(s.name, m.highest + 1000) FROM (SELECT pg_get_serial_sequence('ngx.{table.name}',"
                f" '{column}') AS name) s, (SELECT max({column}) AS highest FROM ngx.{table.name} WHERE shard = $1) m"
                " WHERE m.highest >= coalesce(pg_sequence_last_value(s.name::regclass), 0)",
                shard,
            )


async def compare(source: Connection, target: Connection, tables: tuple[ShardTable, ...], shard: int) -> int:
    """How many rows the shard has, the same on both. Raises JournalError naming the table that differs."""
    total = 0
    for table in tables:
        sql = (
            "SELECT count(*), coalesce(sum(hashtextextended(r::text, 0)::numeric), 0) FROM"
            f" (SELECT {', '.join(table.columns)} FROM ngx.{table.name} WHERE shard = $1) r"
        )
        here, there = await source.fetchrow(sql, shard), await target.fetchrow(sql, shard)
        assert here is not None
        if tuple(here) != tuple(there or ()):
            raise JournalError(f"the copy of table {table.name} differs: the shard stays where it is")
        total += int(here[0])
    return total
