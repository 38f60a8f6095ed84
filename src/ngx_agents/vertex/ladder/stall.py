"""A timer for the waits inside a stream: for its first byte, and from chunk to chunk.

`asyncio.timeout` must not be open across a `yield`, and opening one for every chunk costs more than the chunk. Here one
timer per stream looks, when it is due, whether the wait under way is overdue, and then cancels that wait alone:
`begin` before it, `end` after it, `overdue` to tell our own cancel from somebody else's.

A loop that is late runs its timers before it looks at its sockets: what came in time would be taken for silence, and
the model be blamed for the load of this machine. So an overdue wait gets as long again as the timer was late, until the
timer comes in time.
"""

from __future__ import annotations

import asyncio
from math import inf

from ngx_agents.errors import ModelTimeout

GRACE_S = 0.02
LATE_S = 0.25  # a timer that is later than that tells of a busy loop


class StallWatch:
    """Belongs to one stream; its waits may be made by different tasks, one after the other."""

    __slots__ = ("_cancelling", "_due_s", "_handle", "_has_fired", "_has_grace", "_looks_s", "_loop", "_task")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._due_s = inf
        self._handle: asyncio.TimerHandle | None = None
        self._looks_s = inf  # kept here: uvloop's handle for a time that has passed does not know it
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_fired = False
        self._has_grace = False

    def begin(self, limit_s: float) -> None:
        """A wait of at most `limit_s` begins in the current task."""
        self._task = asyncio.current_task(self._loop)
        self._cancelling = self._task.cancelling() if self._task else 0
        self._has_grace = False
        self._due_s = self._loop.time() + limit_s
        if self._handle is None:
            self._look_at(self._due_s)
        elif self._looks_s > self._due_s:
            self._handle.cancel()
            self._look_at(self._due_s)

    async def end(self) -> None:
        """The wait is over, with a result. Raises ModelTimeout when it was cancelled in the same moment."""
        self._due_s = inf
        if self._has_fired:
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError as exc:
                self.overdue(exc)
            raise ModelTimeout("the model fell silent")

    def overdue(self, cancelled: asyncio.CancelledError) -> None:
        """Raises ModelTimeout when `cancelled` came from this timer and from nobody else; returns otherwise."""
        self._due_s = inf
        if not self._has_fired or self._task is None:
            return
        self._has_fired = False
        if self._task.uncancel() <= self._cancelling:
            raise ModelTimeout("the model fell silent") from cancelled

    def close(self) -> None:
        self._due_s = inf
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look_at(self, due_s: float) -> None:
        self._looks_s = due_s
        self._handle = self._loop.call_at(due_s, self._look)

    def _look(self) -> None:
        self._handle = None
        if self._due_s == inf:
            return
        now_s = self._loop.time()
        late_s = now_s - self._looks_s
        if now_s < self._due_s:
            self._look_at(self._due_s)
        elif not self._has_grace or late_s > LATE_S:
            self._has_grace = True
            self._look_at(now_s + max(GRACE_S, late_s))
        elif self._task is not None:
            self._has_fired = True
            self._task.cancel()
