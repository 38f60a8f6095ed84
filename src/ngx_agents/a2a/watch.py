"""The deadlines of messages that are worked on in their callers' tasks: one timer for all, that looks now and then.

A timer of its own costs a message more than all its counting. What is watched ends at most `LOOK_S` late; the caller's
own time is kept by whoever set it.
"""

from __future__ import annotations

import asyncio

from ngx_agents.a2a.call import Call
from ngx_agents.clock import Clock

LOOK_S = 0.05


class Watch:
    """Looks while there is something to look at."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._calls: set[Call] = set()
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, call: Call) -> None:
        self._calls.add(call)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)

    def forget(self, call: Call) -> None:
        self._calls.discard(call)

    def _look(self) -> None:
        now_s = self._clock.monotonic_s()
        for call in [call for call in self._calls if call.message.deadline_s <= now_s]:
            call.expire()
            self._calls.discard(call)
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look) if self._calls else None
