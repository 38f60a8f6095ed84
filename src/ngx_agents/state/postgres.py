"""The journal on Postgres: for several instances, behind a pooler or not.

Writers group what waits into transactions (`postgres_writer`), readers answer questions; both reconnect by themselves.
Heartbeats have a connection of their own, so that an instance whose writers wait for locks still counts as alive.
Lanes belong to instances that keep a heartbeat (`Beat`); `claim` also takes those whose holder's has expired, and the
epoch in the lane's row fences every write. READ COMMITTED throughout; only leases use time, the database's own.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.commands import Beat, Command, Grant, Leave, Question
from ngx_agents.state.postgres_connections import Connector, Session, Target, Timeouts
from ngx_agents.state.postgres_heartbeats import ClaimLanes
from ngx_agents.state.postgres_migrations import RowSecurity, checked_version, migrate
from ngx_agents.state.postgres_questions import answer
from ngx_agents.state.postgres_readers import Readers
from ngx_agents.state.postgres_writer import Writers
from ngx_agents.telemetry.metrics import Metrics


class PostgresSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`writers` and `readers` are connections, each opened when it is first needed."""

    writers: int = 4
    readers: int = 4
    row_security: RowSecurity = "auto"
    timeouts: Timeouts = Timeouts()


class PostgresJournal:
    """`url` is a Postgres URL; `?pgbouncer=true` in it says that a pooler in transaction mode stands between.

    `on_lost` gets the reason each time the database cannot be reached.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        rng: Rng | None = None,
        metrics: Metrics | None = None,
        settings: PostgresSettings | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        """Raises ConfigError when the URL cannot be one of Postgres."""
        self._settings = settings or PostgresSettings()
        connector = Connector(
            Target.parse(url), clock=clock, rng=rng or Rng(), timeouts=self._settings.timeouts, on_lost=on_lost
        )
        self._readers = Readers(connector, size=self._settings.readers)
        name, metrics = f"w_{secrets.token_hex(8)}", metrics or Metrics()
        self._writers = Writers(connector, size=self._settings.writers, name=name, clock=clock, metrics=metrics)
        self._pulse = Writers(connector, size=1, name=f"{name}/pulse", clock=clock, metrics=metrics)
        self._tasks: asyncio.TaskGroup | None = None

    async def open(self) -> None:
        """Raises JournalTooNew, JournalUnavailable, ConfigError."""
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._readers.start(self._tasks)
        self._writers.start(self._tasks)
        self._pulse.start(self._tasks)
        try:
            await self._readers.submit(_check)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        await self._writers.stop()
        await self._pulse.stop()
        await self._readers.stop()
        await tasks.__aexit__(None, None, None)

    async def migrate(self) -> int:
        async def call(session: Session) -> int:
            return await migrate(session, row_security=self._settings.row_security)

        version: int = await self._readers.submit(call)
        return version

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        if not commands:
            if self._tasks is None:
                raise JournalUnavailable("the journal is closed")
            await self._writers.settled()
            return []
        is_beat = all(isinstance(command, Beat | Leave) for command in commands)
        return await (self._pulse if is_beat else self._writers).submit(commands)

    async def query(self, question: Question) -> Any:
        return await self._readers.submit(lambda session: answer(session, question))

    async def claim(self, limit: int, *, instance: str, now: float) -> list[Grant]:
        """`now` is not used: the database's time decides whose heartbeat has expired."""
        return await self._writers.submit(ClaimLanes(limit=limit, instance=instance))


async def _check(session: Session) -> int:
    async with session.statement() as connection:
        return await checked_version(connection)
