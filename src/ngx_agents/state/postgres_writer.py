"""The writers: a few tasks with a connection each, that turn what waits into transactions.

Callers produce, each writer takes the next batch when it is free; results go back by futures. At once when idle; what
comes meanwhile is the next batch. A further writer joins when much waits, or when what waits has waited for long: so
batches stay large under load, and one that is stuck does not stop the others. A caller that stops waiting does not
undo its work. `stop` lets everything finish.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, JournalUnavailable
from ngx_agents.state.postgres_batches import Job
from ngx_agents.state.postgres_connections import Connector
from ngx_agents.state.postgres_errors import is_outage, understood
from ngx_agents.state.postgres_line import Line
from ngx_agents.state.postgres_queue import JobQueue
from ngx_agents.state.postgres_waiting import Waiting
from ngx_agents.telemetry.metrics import Metrics

JOIN_AT = 32
PATIENCE_S = 0.005
BATCH_EDGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Writers:
    """`size` writers; `name` makes their rows in the database this incarnation's own."""

    def __init__(self, connector: Connector, *, size: int, name: str, clock: Clock, metrics: Metrics) -> None:
        self._lines = [Line(connector, name=f"{name}/{number}", clock=clock) for number in range(size)]
        self._queue = JobQueue()
        self._idle: list[asyncio.Future[None]] = []
        self._at_work = 0
        self._open: set[Waiting] = set()
        self._barriers: list[tuple[set[Waiting], asyncio.Future[None]]] = []
        self._patience: asyncio.TimerHandle | None = None
        self._is_stopping = False
        self._tasks: list[asyncio.Task[None]] = []
        batches = metrics.histogram("ngx_journal_batch_jobs", "Calls in one transaction.", buckets=BATCH_EDGES)
        self._batch_jobs = batches.labels()
        self._seconds = metrics.histogram("ngx_journal_batch_seconds", "A transaction, begin to commit.").labels()
        self._clock = clock

    def start(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = [tasks.create_task(self._work(line)) for line in self._lines]

    async def stop(self) -> None:
        """Waits for what was handed in, then ends the writers. What cancelled writers left behind is refused."""
        self._is_stopping = True
        await self.settled()
        for idle in self._idle:
            if not idle.done():
                idle.set_result(None)
        self._idle.clear()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for left in self._open:
            left.settle(JournalUnavailable("the journal is closed"))
        self._open.clear()
        for line in self._lines:
            await line.close()

    async def settled(self) -> None:
        """Waits until everything handed in by now has an outcome, whoever still waits for it, or no writer is left."""
        if not self._open:
            return
        barrier: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._barriers.append((set(self._open), barrier))
        while not barrier.done() and (writers := [task for task in self._tasks if not task.done()]):
            await asyncio.wait((barrier, *writers), return_when=asyncio.FIRST_COMPLETED)

    def submit(self, job: Job) -> asyncio.Future[list[Any]]:
        """Hands a job over. Raises JournalUnavailable when stopped or full; the future raises what befell the job."""
        if self._is_stopping or not self._tasks:
            raise JournalUnavailable("the journal is closed")
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        waiting = Waiting(job, future)
        self._queue.add(waiting)
        self._open.add(waiting)
        self._call_writer()
        return future

    def _call_writer(self) -> None:
        """Wakes one that is idle, if that is better than to let those at work take what waits."""
        if not self._idle or not self._queue:
            return
        if self._at_work == 0 or len(self._queue) >= JOIN_AT:
            self._wake()
        elif self._patience is None:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE_S, self._lose_patience)

    def _lose_patience(self) -> None:
        self._patience = None
        if self._idle and self._queue:
            self._wake()

    def _wake(self) -> None:
        self._at_work += 1
        self._idle.pop().set_result(None)

    async def _work(self, line: Line) -> None:
        while True:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle
            if self._is_stopping and not self._open:
                return
            # what is left when none may be taken waits for jobs at work, whose writers will look again
            while batch := self._queue.take():
                began_s = self._clock.monotonic_s()
                await self._run(line, batch)
                self._done(batch)
                self._batch_jobs.observe(len(batch))
                self._seconds.observe(self._clock.monotonic_s() - began_s)
            self._at_work -= 1

    def _done(self, batch: list[Waiting]) -> None:
        self._queue.done(batch)
        self._open.difference_update(batch)
        for waits, barrier in self._barriers:
            waits.difference_update(batch)
            if not waits and not barrier.done():
                barrier.set_result(None)
        if self._barriers:
            self._barriers = [one for one in self._barriers if one[0]]

    async def _run(self, line: Line, batch: list[Waiting]) -> None:
        """Settles every job of the batch; halves one that breaks, until what is at fault fails alone."""
        is_together = batch[0].is_grouped
        try:
            results = await _applied(line, batch, together=is_together)
        except Exception as error:  # noqa: BLE001 - the supervisor of a writer
            if len(batch) == 1 or is_outage(error):
                _fail(batch, error)
                return
            middle = len(batch) // 2
            await self._run(line, batch[:middle])
            await self._run(line, batch[middle:])
            return
        for job, result in zip(batch, results, strict=True):
            job.settle(result)


async def _applied(line: Line, batch: list[Waiting], *, together: bool) -> list[list[Any]]:
    try:
        return await line.apply([waiting.job for waiting in batch], together=together)
    except Exception as error:
        if not together or len(batch) > 1 or is_outage(error):
            raise
    return await line.apply([batch[0].job], together=False)


def _fail(batch: list[Waiting], error: Exception) -> None:
    typed = understood(error)
    for waiting in batch:
        waiting.settle(typed if isinstance(typed, JournalUnavailable | ConfigError) else waiting.refused(typed))
