"""Connections to one Postgres: opened as needed, replaced when they broke.

Between failed attempts no new one is made for a growing time with jitter, so that a database that comes back is not
trampled; callers get JournalUnavailable at once meanwhile. No session state is relied on: with a pooler in transaction
mode (`pooled`) the timeouts are set in every transaction, no statement stays prepared, and no statement runs outside
a transaction. Each working task owns one Session; nobody else uses its connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg
import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ConfigError, JournalUnavailable, NgxError
from ngx_agents.state.postgres_errors import FAULTS, understood
from ngx_agents.telemetry.log import event_log

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
log = event_log("state")
SCHEMES = ("postgresql", "postgres")
SUPABASE_TRANSACTION_PORT = 6543
FIRST_PAUSE_S = 0.05
LAST_PAUSE_S = 2.0
BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED;"
# A plan is kept for the connection's life, and one made while the tables were small would read them whole for ever.
KEEP_TO_INDEXES = (
    "enable_seqscan = off",
    "enable_hashjoin = off",
    "enable_mergejoin = off",
    "plan_cache_mode = force_generic_plan",
)
OUR_OPTIONS = ("pgbouncer", "connection_limit", "pool_timeout")


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """Each the longest time before the wait is given up; `call_s` is above the others.

    A transaction that idles ends before those that wait for its locks give up: its process sleeps, or is gone.
    """

    connect_s: float = 5.0
    statement_s: float = 10.0
    lock_s: float = 5.0
    idle_in_transaction_s: float = 3.0
    call_s: float = 15.0


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """`dsn` is what the driver gets; it holds the password and is never shown."""

    dsn: str
    pooled: bool

    @classmethod
    def parse(cls, url: str) -> Target:
        """`?pgbouncer=true`, or Supabase's port 6543, says that a pooler in transaction mode stands between.

        Several hosts, separated by commas, are tried in their order. Raises ConfigError when it is not a Postgres URL.
        """
        try:
            parts = urlsplit(url)
            options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
            ports = [_port(host) for host in parts.netloc.rpartition("@")[2].split(",")]
        except ValueError as error:
            raise ConfigError("the journal's URL is not a usable Postgres URL") from error
        if parts.scheme not in SCHEMES:
            raise ConfigError("the journal's URL must begin with postgresql://")
        told = options.get("pgbouncer", "true" if SUPABASE_TRANSACTION_PORT in ports else "false")
        left = urlencode({name: value for name, value in options.items() if name not in OUR_OPTIONS})
        return cls(dsn=urlunsplit(parts._replace(query=left)), pooled=told.lower() in ("true", "1", "yes"))


def _port(host: str) -> int | None:
    """The port of `host:port`, None when there is none. Raises ValueError when it is no number."""
    _, colon, port = host.rpartition("]")[2].rpartition(":")
    return int(port) if colon else None


class Connector:
    """Makes connections to a target, with back-off shared by all who need one.

    `on_lost` gets the reason each time the database could not be reached, however long its asker goes on trying.
    """

    def __init__(
        self,
        target: Target,
        *,
        clock: Clock,
        rng: Rng,
        timeouts: Timeouts,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self.target = target
        self._on_lost = on_lost
        self._clock = clock
        self._rng = rng
        self._timeouts = timeouts
        self._failures = 0
        self._not_before_s = 0.0
        limits = {
            "statement_timeout": timeouts.statement_s,
            "lock_timeout": timeouts.lock_s,
            "idle_in_transaction_session_timeout": timeouts.idle_in_transaction_s,
        }
        told = [f"{name} = {int(limit_s * 1000)}" for name, limit_s in limits.items()]
        self.begin = BEGIN + "".join(f" SET LOCAL {one};" for one in told if target.pooled)
        self._session = "".join(f"SET {one};" for one in (*told, *KEEP_TO_INDEXES))

    async def connect(self) -> Connection:
        """Raises JournalUnavailable (at once while backing off), ConfigError, JournalError."""
        wait_s = self._not_before_s - self._clock.monotonic_s()
        if wait_s > 0:
            raise JournalUnavailable("the database cannot be reached", retry_after_s=max(wait_s, 0.1))
        try:
            made = await asyncpg.connect(
                self.target.dsn,
                timeout=self._timeouts.connect_s,
                command_timeout=self._timeouts.call_s,
                statement_cache_size=0 if self.target.pooled else 200,
                max_cached_statement_lifetime=0,
                server_settings={"application_name": "ngx-agents"},
            )
            await self._prepare(made)
        except (*FAULTS, ValueError) as error:
            raise self._failed(error) from error
        self._failures = 0
        return made

    async def _prepare(self, made: Connection) -> None:
        if self.target.pooled:
            return
        try:
            await made.execute(self._session)
        except BaseException:
            made.terminate()
            raise

    def _failed(self, error: BaseException) -> Exception:
        self._failures += 1
        pause_s = min(LAST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(self._failures - 1, 10))
        self._not_before_s = self._clock.monotonic_s() + pause_s * self._rng.uniform(0.5, 1.0)
        if isinstance(error, ValueError) and not isinstance(error, (asyncpg.InterfaceError, OSError)):
            return ConfigError("the journal's URL is not a usable Postgres URL")
        typed = understood(error)
        log.warning("journal.not_connected", code=typed.code, attempt=self._failures)
        if self._on_lost is not None and isinstance(typed, JournalUnavailable):
            self._on_lost(str(typed))
        return typed


class Session:
    """The place of one connection, for one task. What it held when something broke is closed, not used again."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        """Raises what `Connector.connect` raises."""
        if self.is_broken:
            self._connection = await self._connector.connect()
        assert self._connection is not None
        return self._connection

    @property
    def is_broken(self) -> bool:
        """Whether there is no connection now: none was needed yet, or it was lost."""
        return self._connection is None or self._connection.is_closed()

    def drop(self) -> None:
        """Closes without a word: the other side may not be there."""
        made, self._connection = self._connection, None
        if made is not None:
            made.terminate()

    async def close(self, *, within_s: float = 1.0) -> None:
        made, self._connection = self._connection, None
        if made is None:
            return
        try:
            await made.close(timeout=within_s)
        except FAULTS:
            made.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """READ COMMITTED. Rolls back what raised; drops the connection when anything but a refusal did."""
        connection = await self.connection()
        try:
            await connection.execute(self._connector.begin)
            yield connection
            if await connection.execute("COMMIT") != "COMMIT":
                raise JournalUnavailable("the database rolled the transaction back: nothing was stored")
        except asyncpg.ReadOnlySQLTransactionError:
            self.drop()  # the next connection may find the host that can write
            raise
        except (NgxError, asyncpg.PostgresError):
            await self._roll_back(connection)
            raise
        except BaseException:
            self.drop()
            raise

    @asynccontextmanager
    async def statement(self) -> AsyncIterator[Connection]:
        """For one reading statement: by itself, or in a transaction where a pooler needs one."""
        if self._connector.target.pooled:
            async with self.transaction() as connection:
                yield connection
            return
        try:
            yield await self.connection()
        except (NgxError, asyncpg.PostgresError):
            raise
        except BaseException:
            self.drop()
            raise

    async def _roll_back(self, connection: Connection) -> None:
        try:
            if not connection.is_closed():
                await connection.execute("ROLLBACK", timeout=1.0)
        except FAULTS:
            self.drop()
        except BaseException:
            self.drop()
            raise
