"""One job that waits to be written, with whoever waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.errors import NgxError
from ngx_agents.resilience.caller import tenant_now
from ngx_agents.state.postgres_batches import Job, is_grouped
from ngx_agents.state.postgres_heartbeats import ClaimLanes
from ngx_agents.state.postgres_touches import touched
from ngx_agents.state.urgency import FIRST, urgency_of_commands


class Waiting:
    """A job with its caller's future. `touches` are the things whose order it keeps.

    Where it is put in order (`postgres_ranked`): `rank` is (class, turn of its tenant), the least first, `number`
    counts them as they came, and `is_taken` says that it went into a batch.
    """

    __slots__ = ("future", "is_grouped", "is_taken", "job", "number", "rank", "tenant", "touches", "urgency")

    def __init__(self, job: Job, future: asyncio.Future[list[Any]]) -> None:
        self.job = job
        self.future = future
        self.is_grouped = is_grouped(job)
        if isinstance(job, ClaimLanes):
            self.touches: frozenset[str] = frozenset()
            self.urgency = FIRST
        else:
            self.touches = frozenset(map(touched, job))
            self.urgency = urgency_of_commands(job)
        self.tenant = tenant_now()
        self.rank: tuple[int, int]
        self.number: int
        self.is_taken: bool

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
