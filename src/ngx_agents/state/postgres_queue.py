"""What waits to be written, and which of it may go together into the next transaction.

Jobs of one lane (or one user's own data) keep their order: none is taken while an earlier one that touches the same
is waiting or at work. Bounded; who comes when it is full is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state import commands as c
from ngx_agents.state.postgres_batches import Job, is_grouped
from ngx_agents.state.postgres_heartbeats import ClaimLanes
from ngx_agents.state.postgres_store import lane_of

MAX_WAITING = 10_000
MAX_BATCH = 256
MAX_LOOKED_AT = 1024


class Waiting:
    """A job with its caller's future. `touches` are the things whose order it keeps."""

    __slots__ = ("future", "is_grouped", "job", "touches")

    def __init__(self, job: Job, future: asyncio.Future[list[Any]]) -> None:
        self.job = job
        self.future = future
        self.is_grouped = is_grouped(job)
        self.touches = frozenset() if isinstance(job, ClaimLanes) else frozenset(map(_touched, job))

    def refused(self, error: NgxError) -> list[Any] | NgxError:
        """What the caller gets when the whole job failed for this reason."""
        return error if isinstance(self.job, ClaimLanes) else [error] * len(self.job)

    def settle(self, result: list[Any] | BaseException) -> None:
        """Tells the caller, unless it left."""
        if self.future.done():
            return
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(result)


class JobQueue:
    """Jobs in the order in which they came."""

    def __init__(self, *, max_waiting: int = MAX_WAITING) -> None:
        self._max_waiting = max_waiting
        self._jobs: deque[Waiting] = deque()
        self._at_work: set[str] = set()

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, waiting: Waiting) -> None:
        """Raises JournalUnavailable when it is full."""
        if len(self._jobs) >= self._max_waiting:
            raise JournalUnavailable("too much is waiting to be written", retry_after_s=2.0)
        self._jobs.append(waiting)

    def take(self) -> list[Waiting]:
        """The next batch: grouped jobs that touch nothing that is at work, or one other job; empty if none may go."""
        batch: list[Waiting] = []
        passed: deque[Waiting] = deque()
        held = set(self._at_work)
        looked_at = 0
        while self._jobs and len(batch) < MAX_BATCH and looked_at < MAX_LOOKED_AT:
            job = self._jobs.popleft()
            looked_at += 1
            fits = job.is_grouped or not batch
            if fits and held.isdisjoint(job.touches):
                batch.append(job)
                if not job.is_grouped:
                    break
            else:
                held |= job.touches
                passed.append(job)
        self._jobs.extendleft(reversed(passed))
        for job in batch:
            self._at_work |= job.touches
        return batch

    def done(self, batch: list[Waiting]) -> None:
        for job in batch:
            self._at_work -= job.touches


def _touched(command: c.Command) -> str:
    lane = lane_of(command)
    if lane is not None:
        return lane
    match command:
        case c.RequestCancel() | c.ReplayTurn():
            return command.turn_id
        case c.PutProfile() | c.AddLog() | c.EraseUser() | c.PutBlob() | c.DeleteBlob() | c.PutConsent():
            return f"{command.owner.tenant}/{command.owner.user}"
        case c.PutKey():
            return command.key.digest.hex()
        case c.RevokeKey() | c.EndKey():
            return command.digest.hex()
        case _:
            return _touched_by_task(command)


def _touched_by_task(command: c.Command) -> str:
    match command:
        case c.EndTask() | c.PutPush() | c.DeletePush():
            return command.task_id
        case c.AddPost():
            return command.subject
        case c.SettlePush() | c.ReplayPush():
            return f"outbox/{command.number}"
        case _:
            return _touched_of_later(command)


def _touched_of_later(command: c.Command) -> str:
    match command:
        case c.CreateBatch() | c.DeleteSchedule() | c.FireSchedule():
            return command.id
        case c.PutSchedule():
            return command.schedule.id
        case c.CreateWebhook():
            return command.webhook.id
        case c.ChangeWebhook() | c.DeleteWebhook() | c.TryWebhook():
            return command.id
        case c.AddBatchItems() | c.StartBatch() | c.DropBatch() | c.TakeItems() | c.CancelBatch() | c.SettleBatch():
            return command.batch_id
        case _:
            return _touched_by_instance(command)


def _touched_by_instance(command: c.Command) -> str:
    match command:
        case c.Beat() | c.Leave() | c.TryElect() | c.ClaimPushes():
            return command.instance
        case c.Expire():
            return f"expire/{command.kind}"
        case _:
            return _touched_by_operator(command)


def _touched_by_operator(command: c.Command) -> str:
    match command:
        case c.PutControl() | c.ForgetRevocations():
            return "control"
        case c.WriteAudit():
            return command.entry.id
        case c.TouchKey():
            return f"used/{command.digest.hex()}"
        case c.TakeBudget() | c.GiveBudget():
            return f"meter/{command.meter}"
        case c.ForgetBudgets():
            return "meters"
        case c.Audited():
            return _touched(command.command)
        case _:
            raise TypeError(f"{type(command).__name__} is not a command")
