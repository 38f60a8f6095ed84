"""One writer's connection: applies a batch exactly once, or says that it was not applied.

Every transaction sets the line's row in `ngx.writer` to the batch's number. When the reply to a COMMIT is lost, the
row tells what became of it; it is locked to be read, so that a server process that still works on that COMMIT is
waited for. What failed before its COMMIT is run again: once after a lost connection, up to thrice after a conflict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.postgres_batches import Job, Mark, apply_alone, apply_together, is_commands
from ngx_agents.state.postgres_connections import Connector, Session
from ngx_agents.state.postgres_errors import FAULTS, is_conflict, is_outage
from ngx_agents.telemetry.log import event_log

log = event_log("state")
MAX_ATTEMPTS = 4
RESOLVE_S = 10.0
LOOK_AGAIN_S = 0.1
_REGISTER = "INSERT INTO ngx.writer (id, batch) VALUES ($1, 0) ON CONFLICT (id) DO NOTHING"
_FORGET = "DELETE FROM ngx.writer WHERE changed_at < statement_timestamp() - interval '30 days'"
_LAST_BATCH = "SELECT batch FROM ngx.writer WHERE id = $1 FOR UPDATE"


class CommitUnknown(Exception):
    """The COMMIT was sent and its reply did not come. `results` hold if it was carried out."""

    def __init__(self, results: list[list[Any]]) -> None:
        super().__init__("no reply to a commit")
        self.results = results


class Line:
    """`name` is this line's in the database, of this incarnation alone."""

    def __init__(self, connector: Connector, *, name: str, clock: Clock) -> None:
        self._connector = connector
        self._session = Session(connector)
        self._name = name
        self._clock = clock
        self._number = 0
        self._is_registered = False

    async def close(self) -> None:
        await self._session.close()

    async def apply(self, jobs: Sequence[Job], *, together: bool) -> list[list[Any]]:
        """Results of each job. Raises JournalUnavailable, ConfigError, or what the database says of the statement."""
        was_lost = False
        for _ in range(MAX_ATTEMPTS):
            self._number += 1
            mark = (self._name, self._number)
            try:
                return await self._attempt(jobs, mark, together=together)
            except CommitUnknown as unknown:
                if await self._was_committed(mark):
                    return unknown.results
            except Exception as error:
                is_lost = self._session.is_broken and not was_lost and not isinstance(error, TimeoutError)
                was_lost = was_lost or is_lost
                if not is_lost and not is_conflict(error):
                    raise
        raise JournalUnavailable("the database rolled back for a conflict: nothing was stored")

    async def _attempt(self, jobs: Sequence[Job], mark: Mark, *, together: bool) -> list[list[Any]]:
        if not self._is_registered:
            await self._register()
        results: list[list[Any]] | None = None
        try:
            async with self._session.transaction() as connection:
                if together:
                    results = await apply_together(connection, [job for job in jobs if is_commands(job)], mark)
                else:
                    results = [await apply_alone(connection, job, mark) for job in jobs]
        except Exception as error:
            if results is None:
                raise
            self._session.drop()
            raise CommitUnknown(results) from error
        return results

    async def _register(self) -> None:
        async with self._session.transaction() as connection:
            await connection.execute(_REGISTER, self._name)
            await connection.execute(_FORGET)
        self._is_registered = True

    async def _was_committed(self, mark: Mark) -> bool:
        log.warning("journal.commit_unknown", batch=mark[1])
        until_s = self._clock.monotonic_s() + RESOLVE_S
        while self._clock.monotonic_s() < until_s:
            try:
                async with self._session.transaction() as connection:
                    return bool(await connection.fetchval(_LAST_BATCH, mark[0]) == mark[1])
            except (*FAULTS, JournalUnavailable) as error:
                if not is_outage(error):
                    raise
                await self._clock.sleep(LOOK_AGAIN_S)
        message = "the database's answer was lost: whether the last commands were stored is not known"
        raise JournalUnavailable(message, retry_after_s=5.0)
