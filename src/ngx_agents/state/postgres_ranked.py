"""Jobs in the order of their rank, where more waits than goes into one transaction. Part of `postgres_queue`.

Along a line (the jobs that touch the same, in the order in which they came) ranks never fall: who comes behind somebody
less urgent lends them its rank, who comes behind somebody of its own class whose turn is later waits for that turn. So
what is scanned by rank is scanned in the order of every line.
"""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count
from typing import TypeAlias

from ngx_agents.resilience.fair_order import FairOrder
from ngx_agents.state.postgres_waiting import Waiting

MAX_BATCH = 256
MAX_LOOKED_AT = 1024
PATIENCE = 8
_Entry: TypeAlias = "tuple[int, int, int, Waiting]"


class RankedJobs:
    """An entry of the heap counts only while it has its job's rank: a job that was lent another has one more entry.

    `count` is how many wait.
    """

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._lines: dict[str, deque[Waiting]] = {}
        self._arrived: deque[Waiting] = deque()
        self._numbers = count()
        self._order = FairOrder()
        self.count = 0
        self._passed = 0  # how often in a row the one that came first was passed over

    def add(self, job: Waiting) -> None:
        job.number, job.is_taken = next(self._numbers), False
        turn = self._order.tag(job.tenant)
        for touch in job.touches:
            line = self._lines.get(touch)
            if line and line[-1].rank[0] == job.urgency:
                turn = max(turn, line[-1].rank[1])
        job.rank = (job.urgency, turn)
        for touch in job.touches:
            self._lend(job, touch)
            self._lines.setdefault(touch, deque()).append(job)
        heapq.heappush(self._heap, (*job.rank, job.number, job))
        self._arrived.append(job)
        self.count += 1

    def _lend(self, job: Waiting, touch: str) -> None:
        """Its rank to those that it has to wait for, and to those that they have to wait for."""
        behind = [(touch, job.number)]
        while behind:
            place, number = behind.pop()
            for earlier in reversed(self._lines.get(place, ())):
                if earlier.rank <= job.rank:
                    break
                if earlier.number < number:
                    earlier.rank = job.rank
                    heapq.heappush(self._heap, (*job.rank, earlier.number, earlier))
                    behind.extend((other, earlier.number) for other in earlier.touches if other != place)

    def take(self, at_work: set[str]) -> list[Waiting]:
        """The next batch of what touches nothing that is `at_work`."""
        first = self._oldest()
        may_go = first is not None and at_work.isdisjoint(first.touches)
        batch: list[Waiting] = []
        if first is not None and may_go and self._passed >= self._patience():
            batch.append(first)
            first.is_taken = True
        if not batch or batch[0].is_grouped:
            self._fill(batch, set(at_work))
        for job in batch:
            self._leave(job)
        is_passed_over = first is not None and may_go and not first.is_taken and bool(batch)
        self._passed = self._passed + 1 if is_passed_over else 0
        if not self.count:
            self._heap.clear()
            self._arrived.clear()
        return batch

    def _fill(self, batch: list[Waiting], held: set[str]) -> None:
        """By rank: grouped jobs, or one other; what is passed over keeps those behind it in its lines waiting."""
        heap, passed = self._heap, list[_Entry]()
        while heap and len(batch) < MAX_BATCH and len(passed) < MAX_LOOKED_AT:
            entry = heapq.heappop(heap)
            job = entry[3]
            if job.is_taken or entry[:2] != job.rank:
                continue
            if (job.is_grouped or not batch) and held.isdisjoint(job.touches):
                batch.append(job)
                job.is_taken = True
                if not job.is_grouped:
                    break
            else:
                held |= job.touches
                passed.append(entry)
        for entry in passed:
            heapq.heappush(heap, entry)

    def _leave(self, job: Waiting) -> None:
        self.count -= 1
        self._order.served(job.rank[1])
        for touch in job.touches:
            line = self._lines[touch]
            line.popleft()
            if not line:
                del self._lines[touch]

    def _oldest(self) -> Waiting | None:
        while self._arrived and self._arrived[0].is_taken:
            self._arrived.popleft()
        return self._arrived[0] if self._arrived else None

    def _patience(self) -> int:
        """Twice as long while critical jobs wait."""
        return PATIENCE * (1 + (self._heap[0][0] == 0))
