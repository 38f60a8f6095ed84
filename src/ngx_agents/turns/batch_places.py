"""The lanes that are at work for batches, and how they give way to whoever comes.

When a turn of another class comes, the way is kept free for it for a moment: batches begin nothing, and their turns
at work stop where they next could. It is over when the last such turn has ended, and never lasts for long on end, so
that nothing starves. Producers: the lanes; consumers: the taker of batches, and the runner of their turns.
"""

from __future__ import annotations

import asyncio

from ngx_agents.clock import Clock

GIVE_WAY_S = 0.03
"""What a turn takes until it waits for a model, or is answered without one."""
ON_END_S = 0.25
"""The longest that the way is kept without a breath."""
BREATH_S = 0.05


class BatchPlaces:
    """How many lanes at work have a turn of the batch class; `eased` is set when that falls to `low`.

    `ended` counts those that have had their time; `others` are lanes at work with turns of other classes, and
    `others_s` is when one of these came last, on the monotonic clock.
    """

    def __init__(self, clock: Clock) -> None:
        self.count = 0
        self.low = 0
        self.ended = 0
        self.eased = asyncio.Event()
        self.others = 0
        self.others_s = float("-inf")
        self._clock = clock
        self._kept_since_s = self._free_s = float("-inf")

    @property
    def wait_s(self) -> float:
        """How much longer the way is kept for others: 0.0 when it is free."""
        return max(0.0, self._free_s - self._clock.monotonic_s())

    def announce_other(self) -> None:
        """A turn of another class is on its way."""
        self.others_s = now_s = self._clock.monotonic_s()
        if now_s > self._free_s + BREATH_S:
            self._kept_since_s = now_s
        self._free_s = max(self._free_s, min(now_s + GIVE_WAY_S, self._kept_since_s + ON_END_S))

    def begin(self, *, is_batch: bool) -> None:
        if is_batch:
            self.count += 1
        else:
            self.others += 1
            self.announce_other()

    def end(self, *, is_batch: bool) -> None:
        if not is_batch:
            self.others -= 1
            if not self.others:
                self._free_s = min(self._free_s, self._clock.monotonic_s())
            return
        self.count -= 1
        self.ended += 1
        if self.count <= self.low:
            self.eased.set()

    async def give_way(self) -> None:
        """Waits until the way is free."""
        while (wait_s := self.wait_s) > 0:
            await self._clock.sleep(wait_s)
