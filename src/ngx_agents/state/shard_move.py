"""Moving one logical shard between two servers while it is in use, so that no turn is lost or doubled.

prepare    the target awaits the shard: fenced, whatever an earlier attempt left there removed
follow     the source notes every change of the shard from here on
copy       all rows; then what changed meanwhile, until little is left
freeze     the source refuses writes of the shard; the rest goes over, both sides are compared
hand over  the source says `gone`, for good; this is the moment of the move
wait       no server's word may be older: whoever reads has heard of it (`lease_s`)
serve      the target takes writes; the source's rows are removed

Each step is in the databases before the next begins. A mover that dies leaves a state from which the same `move` goes
on, or `roll_back` returns, as long as it was not handed over. One mover at a time for each source. The freeze has a
bound: when it is over the source takes writes again and the copy goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, JournalError, JournalUnavailable
from ngx_agents.state import shard_move_tables as tables_at
from ngx_agents.state.ids import SHARDS
from ngx_agents.state.operations import ShardPlace, ShardState
from ngx_agents.state.postgres_connections import Connection, Target
from ngx_agents.state.postgres_errors import FAULTS, understood
from ngx_agents.state.postgres_migrations import checked_version
from ngx_agents.state.shard_move_tables import ShardTable, tables_of
from ngx_agents.state.sharded_map import ShardMap

MOVER_LOCK = 0x6E6778_0002
"""The advisory lock's number: "ngx" and 2."""
CONNECT_S = 10.0
LOCK_TRIES = 20
OnStep = Callable[[str], Awaitable[None]]


class MoveSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`lease_s` must be at least the servers' own (`ShardSettings.lease_s`). `freeze_s` bounds the last copy."""

    lease_s: float = 2.5
    freeze_s: float = 5.0
    lock_s: float = 1.0
    passes: int = 50
    little: int = 200


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """`frozen_s` is how long the shard took no writes; `rows` how many it has."""

    shard: int
    source: str
    target: str
    rows: int
    frozen_s: float


class ShardMover:
    """`urls` of the servers by name, without a pooler between. `on_step` hears what is done, after it is done."""

    def __init__(
        self,
        places: ShardMap,
        urls: Mapping[str, str],
        *,
        clock: Clock,
        settings: MoveSettings | None = None,
        on_step: OnStep | None = None,
    ) -> None:
        self._map = places
        self._targets = {name: Target.parse(url) for name, url in urls.items()}
        self._clock = clock
        self._settings = settings or MoveSettings()
        self._on_step = on_step

    async def look(self) -> ShardMap:
        """The map as all servers tell it now. Raises JournalUnavailable, ConfigError."""
        for name in self._targets:
            async with self._connected(name) as connection:
                self._map.hear(name, await _places(connection))
        return self._map

    async def move(self, shard: int, to: str) -> Moved:
        """Moves the shard, or finishes a move that was begun.

        Raises ConfigError (no such shard or server), JournalUnavailable (try again), JournalError.
        """
        self._check(shard, to)
        await self.look()
        source = self._map.place_of(shard)
        if source == to:
            return await self._finish(shard, to)
        self._refuse_handed_over(shard, source)
        epoch = self._map.epoch_of(shard) + 1
        async with self._both(source, to) as (here, there):
            tables = await _same_tables(here, there)
            await self._prepare(there, tables, ShardPlace(shard=shard, epoch=epoch, state="arriving", peer=source))
            await self._follow(here, tables, ShardPlace(shard=shard, epoch=epoch, state="copying", peer=to))
            await self._copy(here, there, tables, shard)
            rows, frozen_s = await self._freeze_and_hand_over(here, there, tables, shard)
            began_s = self._clock.monotonic_s()
            await self._serve(there, tables, shard)
            frozen_s += self._clock.monotonic_s() - began_s
            await self._clean(here, tables, shard)
        return Moved(shard=shard, source=source, target=to, rows=rows, frozen_s=frozen_s)

    async def roll_back(self, shard: int) -> str:
        """Undoes a move that was begun and not handed over; the name of the server that has the shard.

        Raises ConfigError, JournalUnavailable.
        """
        self._check(shard, None)
        await self.look()
        source = self._map.place_of(shard)
        self._refuse_handed_over(shard, source)
        for name in self._targets:
            place = self._map.state_of(shard, name)
            if place is None or place.state != "arriving":
                continue
            async with self._connected(name) as connection:
                tables = await tables_of(connection)
                await tables_at.purge(connection, tables, shard)
                async with self._changing(connection):
                    await tables_at.unfence(connection, tables, shard)
                    await connection.execute("DELETE FROM ngx.shard_place WHERE shard = $1", shard)
        here = self._map.state_of(shard, source)
        if here is not None and here.state in ("copying", "frozen"):
            async with self._connected(source) as connection:
                tables = await tables_of(connection)
                async with self._changing(connection):
                    await tables_at.unfence(connection, tables, shard)
                    await tables_at.unfollow(connection, tables, shard)
                    await _say(connection, msgspec.structs.replace(here, state="serving"))
        return source

    def _check(self, shard: int, to: str | None) -> None:
        if not 0 <= shard < SHARDS:
            raise ConfigError(f"there is no shard {shard}: they are 0 to {SHARDS - 1}")
        if to is not None and to not in self._targets:
            raise ConfigError(f"there is no server {to!r}: there are {', '.join(sorted(self._targets))}")

    def _refuse_handed_over(self, shard: int, at: str) -> None:
        place = self._map.state_of(shard, at)
        if place is not None and place.state == "arriving":
            raise ConfigError(f"shard {shard} is handed over to {at} already: `move {shard} {at}` finishes that")

    async def _finish(self, shard: int, at: str) -> Moved:
        """The rest of a move that was handed over: serve, then remove what was left behind."""
        place = self._map.state_of(shard, at)
        began_s = self._clock.monotonic_s()
        rows, source = 0, place.peer if place is not None else at
        if place is not None and place.state == "arriving":
            async with self._connected(at) as there:
                await self._serve(there, await tables_of(there), shard)
        frozen_s = self._clock.monotonic_s() - began_s
        left = self._map.state_of(shard, source)
        if left is not None and left.state == "gone":
            async with self._connected(source) as here:
                await self._clean(here, await tables_of(here), shard)
        return Moved(shard=shard, source=source, target=at, rows=rows, frozen_s=frozen_s)

    async def _prepare(self, there: Connection, tables: tuple[ShardTable, ...], place: ShardPlace) -> None:
        async with self._changing(there):
            await _say(there, place)
            await tables_at.fence(there, tables, place.shard)
        await tables_at.purge(there, tables, place.shard)
        await self._told("prepared")

    async def _follow(self, here: Connection, tables: tuple[ShardTable, ...], place: ShardPlace) -> None:
        """Also what an earlier attempt froze is in use again meanwhile."""
        async with self._changing(here):
            await tables_at.unfence(here, tables, place.shard)
            await tables_at.follow(here, tables, place.shard)
            await here.execute("DELETE FROM ngx.shard_change WHERE shard = $1", place.shard)
            await _say(here, place)
        await self._told("followed")

    async def _copy(self, here: Connection, there: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
        for table in tables:
            async with there.transaction():
                await there.execute("SET LOCAL ngx.mover = 'on'")
                await tables_at.copy(here, there, table, "WHERE t.shard = $1", shard)
        await self._told("copied")
        for _ in range(self._settings.passes):
            if await tables_at.copy_again(here, there, tables, shard) <= self._settings.little:
                break
        await self._told("caught up")

    async def _freeze_and_hand_over(
        self, here: Connection, there: Connection, tables: tuple[ShardTable, ...], shard: int
    ) -> tuple[int, float]:
        async with self._changing(here):
            await tables_at.fence(here, tables, shard)
            await _change(here, shard, "frozen")
        began_s = self._clock.monotonic_s()
        await self._told("frozen")
        try:
            async with asyncio.timeout(self._settings.freeze_s):
                while await tables_at.copy_again(here, there, tables, shard):
                    pass
                rows = await tables_at.compare(here, there, tables, shard)
                await tables_at.count_on(there, tables, shard)
        except (TimeoutError, JournalError) as error:
            await self._thaw(here, shard)
            if isinstance(error, JournalError):
                raise
            raise JournalUnavailable("the rest did not go over in time: the shard stays, try again") from error
        await self._told("verified")
        async with self._changing(here):
            await tables_at.unfollow(here, tables, shard)
            await _change(here, shard, "gone")
        await self._told("handed over")
        return rows, self._clock.monotonic_s() - began_s

    async def _thaw(self, here: Connection, shard: int) -> None:
        """The source takes writes again. On a connection of its own: the other may be in the middle of something."""
        name = next(name for name in self._targets if self._map.place_of(shard) == name)
        async with self._connected(name) as fresh, self._changing(fresh):
            await tables_at.unfence(fresh, await tables_of(fresh), shard)
            await _change(fresh, shard, "copying")

    async def _serve(self, there: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
        await self._clock.sleep(self._settings.lease_s)
        await self._told("waited")
        async with self._changing(there):
            await tables_at.unfence(there, tables, shard)
            await _change(there, shard, "serving")
        await self._told("serving")

    async def _clean(self, here: Connection, tables: tuple[ShardTable, ...], shard: int) -> None:
        await tables_at.purge(here, tables, shard)
        await self._told("cleaned")

    async def _told(self, step: str) -> None:
        if self._on_step is not None:
            await self._on_step(step)

    @asynccontextmanager
    async def _changing(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction that changes triggers: it takes its locks at once or gives way, and then tries again."""
        for attempt in range(LOCK_TRIES):
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.execute(f"SET LOCAL lock_timeout = '{int(self._settings.lock_s * 1000)}ms'")
                await _lock_all(connection)
                break
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                await transaction.rollback()
                if attempt == LOCK_TRIES - 1:
                    raise JournalUnavailable("the tables are locked for too long: try again") from error
        else:
            raise AssertionError
        try:
            yield
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()

    @asynccontextmanager
    async def _connected(self, name: str) -> AsyncIterator[Connection]:
        target = self._targets[name]
        if target.pooled:
            raise ConfigError(f"server {name}: a mover needs a direct connection, not one through a pooler")
        try:
            connection = await asyncpg.connect(target.dsn, timeout=CONNECT_S, server_settings=_SESSION)
        except FAULTS as error:
            raise understood(error) from error
        try:
            yield connection
        except (*FAULTS, ExceptionGroup) as error:
            inner = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
            if not isinstance(inner, FAULTS):
                raise
            raise understood(inner) from error
        finally:
            connection.terminate()

    @asynccontextmanager
    async def _both(self, source: str, target: str) -> AsyncIterator[tuple[Connection, Connection]]:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(self._connected(source))
            there = await stack.enter_async_context(self._connected(target))
            if not await here.fetchval("SELECT pg_try_advisory_lock($1)", MOVER_LOCK):
                raise JournalUnavailable(f"another mover is at work on {source}", retry_after_s=30.0)
            yield here, there


_SESSION = {"application_name": "ngx-shard-move", "statement_timeout": "0", "client_min_messages": "warning"}


async def _places(connection: Connection) -> tuple[ShardPlace, ...]:
    if not await connection.fetchval("SELECT to_regclass('ngx.shard_place') IS NOT NULL"):
        raise JournalError("a server's database has not the journal's tables of this version: migrate it")
    rows = await connection.fetch("SELECT shard, epoch, state, peer FROM ngx.shard_place ORDER BY shard")
    return tuple(ShardPlace(shard=row[0], epoch=row[1], state=row[2], peer=row[3]) for row in rows)


async def _say(connection: Connection, place: ShardPlace) -> None:
    await connection.execute(
        "INSERT INTO ngx.shard_place (shard, epoch, state, peer) VALUES ($1, $2, $3, $4) ON CONFLICT (shard) DO UPDATE"
        " SET epoch = excluded.epoch, state = excluded.state, peer = excluded.peer, changed_at = statement_timestamp()",
        place.shard,
        place.epoch,
        place.state,
        place.peer,
    )


async def _change(connection: Connection, shard: int, state: ShardState) -> None:
    status = await connection.execute(
        "UPDATE ngx.shard_place SET state = $2, changed_at = statement_timestamp() WHERE shard = $1", shard, state
    )
    if status != "UPDATE 1":
        raise JournalError(f"shard {shard} is not being moved: another mover was at work")


async def _lock_all(connection: Connection) -> None:
    """In the order in which writers take them, so that nobody waits in a ring; readers are not in the way."""
    names = [table.name for table in await tables_of(connection)]
    first = [name for name in ("conversation", "turn", "message") if name in names]
    ordered = [*first, *(name for name in names if name not in first)]
    await connection.execute(f"LOCK {', '.join(f'ngx.{name}' for name in ordered)} IN SHARE ROW EXCLUSIVE MODE")


async def _same_tables(here: Connection, there: Connection) -> tuple[ShardTable, ...]:
    versions = await checked_version(here), await checked_version(there)
    tables = await tables_of(here)
    if versions[0] != versions[1] or tables != await tables_of(there):
        raise ConfigError(f"the servers have schema versions {versions[0]} and {versions[1]}: migrate both first")
    return tables
