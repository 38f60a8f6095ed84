"""A thread that owns one blocking resource (a connection, a file) and does what the event loop hands it, in batches.

The loop produces, this thread consumes, results go back in one wake-up per batch. At once when idle; what comes
meanwhile is the next batch. Of more than fits into one the more urgent go first, and each class has a part of it, so
that none starves; a class keeps its order. A caller that stops waiting does not undo its work. `stop` lets everything
finish.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.resilience.courtesy import Courtesy

MAX_BATCH = 256
MAX_WAITING = 10_000
CLASSES = 4
USUAL = 1
LEAST_SHARE = 16
"""One of so many places of a batch is each class's own."""


class Closable(Protocol):
    def close(self) -> None: ...


Resource = TypeVar("Resource", bound=Closable)
_Item = tuple[Any, "asyncio.Future[Any]"]


class OwnerThread(Generic[Resource]):
    """`run_batch` does the jobs (whatever they are) on what `connect` gave: one result or exception for each, in order.

    `understood` translates what goes wrong beyond that.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Resource],
        *,
        run_batch: Callable[[Resource, Sequence[Any]], list[Any]],
        understood: Callable[[Exception], NgxError],
        courtesy: Courtesy,
    ) -> None:
        self._name = name
        self._connect = connect
        self._run_batch = run_batch
        self._understood = understood
        self._courtesy = courtesy
        self._jobs: tuple[queue.SimpleQueue[_Item], ...] = tuple(queue.SimpleQueue() for _ in range(CLASSES))
        self._waiting: queue.SimpleQueue[bool] = queue.SimpleQueue()  # True for each job, False at the end
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        started: asyncio.Future[None] = self._loop.create_future()
        self._thread = threading.Thread(target=self._main, args=(started,), name=self._name, daemon=True)
        self._thread.start()
        try:
            await started
        except BaseException:
            self._thread = None
            raise

    async def stop(self) -> None:
        if self._thread is None:
            return
        thread, self._thread = self._thread, None
        self._waiting.put(False)
        await asyncio.to_thread(thread.join)

    def submit(self, job: object, urgency: int = USUAL) -> asyncio.Future[Any]:
        """Hands a job over; `urgency` is its class, 0 first. The future raises what the job raised.

        Raises JournalUnavailable when stopped, or when `MAX_WAITING` wait already.
        """
        if self._thread is None or self._loop is None:
            raise JournalUnavailable("the journal is closed")
        if self._waiting.qsize() >= MAX_WAITING:
            raise JournalUnavailable("too much is waiting to be written or read", retry_after_s=2.0)
        future: asyncio.Future[Any] = self._loop.create_future()
        self._courtesy.begin()
        self._jobs[urgency].put((job, future))
        self._waiting.put(True)
        return future

    def _main(self, started: asyncio.Future[None]) -> None:
        assert self._loop is not None
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - the start reports whatever kept it
            self._post(_settle_one, started, self._understood(error))
            return
        self._post(_settle_one, started, None)
        while self._waiting.get():
            batch, last = self._gather()
            try:
                results = self._run_batch(connection, [job for job, _ in batch])
            except Exception as error:  # noqa: BLE001 - a thread that ends would leave every caller waiting
                results = [self._understood(error)] * len(batch)
            self._post(self._deliver, batch, results)
            if last:
                break
        connection.close()

    def _gather(self) -> tuple[list[_Item], bool]:
        """The next batch, one job of which has been counted, and whether it is the last."""
        count, last = 1, False
        while count < MAX_BATCH and not last:
            try:
                last = not self._waiting.get_nowait()
            except queue.Empty:
                break
            count += not last
        if count == 1:
            return [next(jobs for jobs in self._jobs if jobs.qsize()).get_nowait()], last
        shares = zip(self._jobs, self._shares(count), strict=True)
        return [jobs.get_nowait() for jobs, share in shares for _ in range(share)], last

    def _shares(self, count: int) -> list[int]:
        """How many of each class go into a batch of `count`."""
        waiting = [jobs.qsize() for jobs in self._jobs]
        shares = [min(each, count // LEAST_SHARE) for each in waiting]
        left = count - sum(shares)
        for urgency, each in enumerate(waiting):
            more = min(left, each - shares[urgency])
            shares[urgency] += more
            left -= more
        return shares

    def _deliver(self, batch: list[_Item], results: list[Any]) -> None:
        for (_, future), result in zip(batch, results, strict=True):
            self._courtesy.end()
            _settle_one(future, result)

    def _post(self, call: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call, *args)


def _settle_one(future: asyncio.Future[Any], result: Any) -> None:
    if future.done():
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
