"""GIL courtesy: a loop that never idles must not starve the threads that work for it.

A thread that gives up the GIL for a system call competes for it again; against an event loop at 100 % it loses for
seconds. So while work of other threads is in flight, the loop looks every millisecond at how much of that millisecond
it spent running; when it was all of it, it sleeps 50 µs, which is enough for a waiting thread to get its turn.
At up to about 90 % load this never sleeps; a loop that idles most of the time looks more seldom, down to every 5 ms,
because each look wakes it; with nothing in flight it costs nothing.

Used by: the model transport and the SQLite writer (`with courtesy.work():` around every hand-over to a thread).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

LOOK_EVERY_S = 0.001
LOOK_SELDOM_S = 0.005
SLEEP_S = 0.00005
BUSY_SHARE = 0.9
IDLE_SHARE = 0.25


class Courtesy:
    """One per event loop. `enabled=False` measures the world without it."""

    def __init__(self, *, enabled: bool = True) -> None:
        self._enabled = enabled
        self._in_flight = 0
        self._timer: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wall_s = 0.0
        self._cpu_s = 0.0
        self._look_after_s = LOOK_EVERY_S

    @contextmanager
    def work(self) -> Iterator[None]:
        """Marks work that another thread does for this loop, from hand-over to result."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    def begin(self) -> None:
        self._in_flight += 1
        if self._timer is None and self._enabled:
            self._loop = asyncio.get_running_loop()
            self._wall_s = time.perf_counter()
            self._cpu_s = time.thread_time()
            self._look_after_s = LOOK_EVERY_S
            self._timer = self._loop.call_later(LOOK_EVERY_S, self._look)

    def end(self) -> None:
        self._in_flight -= 1

    def _look(self) -> None:
        if not self._in_flight or self._loop is None:
            self._timer = None
            return
        wall_s, cpu_s = time.perf_counter(), time.thread_time()
        ran_s, passed_s = cpu_s - self._cpu_s, wall_s - self._wall_s
        if ran_s >= BUSY_SHARE * passed_s:
            time.sleep(SLEEP_S)
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
        is_idle = ran_s < IDLE_SHARE * passed_s
        self._look_after_s = min(2 * self._look_after_s, LOOK_SELDOM_S) if is_idle else LOOK_EVERY_S
        self._wall_s, self._cpu_s = wall_s, cpu_s
        self._timer = self._loop.call_later(self._look_after_s, self._look)
