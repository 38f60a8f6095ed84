"""What waits to be written, and which of it may go together into the next transaction.

Jobs of one lane (or one user's own data) keep their order: none is taken while an earlier one that touches the same
is waiting or at work. All that fits into one transaction goes in the order in which it came. Otherwise the more urgent
class goes first, and in a class tenants take turns; what has an urgent job behind it on the same lane becomes as
urgent. What came first is passed over `PATIENCE` times at most (twice that while critical jobs wait), so nothing
starves. Bounded; who comes when it is full is refused.
"""

from __future__ import annotations

from collections import deque

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.postgres_ranked import MAX_BATCH, RankedJobs
from ngx_agents.state.postgres_waiting import Waiting

MAX_WAITING = 10_000


class JobQueue:
    """`add` when a job comes, `take` for the next transaction, `done` after it."""

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._fresh: deque[Waiting] = deque()
        self._alone = 0  # of the fresh ones, those that go into a transaction of their own
        self._ranked = RankedJobs()
        self._at_work: set[str] = set()

    def __len__(self) -> int:
        return len(self._fresh) + self._ranked.count

    def add(self, waiting: Waiting) -> None:
        """Raises JournalUnavailable when it is full."""
        if len(self._fresh) + self._ranked.count >= self._max_waiting:
            raise JournalUnavailable("too much is waiting to be written", retry_after_s=2.0)
        self._fresh.append(waiting)
        self._alone += not waiting.is_grouped

    def take(self) -> list[Waiting]:
        """The next batch: grouped jobs that touch nothing that is at work, or one other job; empty if none may go."""
        fresh = self._fresh
        fits = len(fresh) <= MAX_BATCH and (not self._alone or len(fresh) == 1)
        if fits and not self._ranked.count:
            batch = self._take_in_order() if fresh else []
        else:
            while fresh:
                self._ranked.add(fresh.popleft())
            self._alone = 0
            batch = self._ranked.take(self._at_work)
        for job in batch:
            self._at_work |= job.touches
        return batch

    def _take_in_order(self) -> list[Waiting]:
        if len(self._fresh) == 1 and self._at_work.isdisjoint(self._fresh[0].touches):
            self._alone = 0
            return [self._fresh.popleft()]
        batch: list[Waiting] = []
        passed: deque[Waiting] = deque()
        held = set(self._at_work)
        for job in self._fresh:
            if held.isdisjoint(job.touches):
                batch.append(job)
            else:
                held |= job.touches
                passed.append(job)
        self._fresh = passed
        self._alone = sum(not job.is_grouped for job in passed)
        return batch

    def done(self, batch: list[Waiting]) -> None:
        for job in batch:
            self._at_work -= job.touches
