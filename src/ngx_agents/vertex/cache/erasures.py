"""Which users were erased of late: what is being made of them at that moment must not be kept afterwards.

Erasures are counted. A question remembers the count at which it was asked; an answer to it is void when its user was
erased after that. A question may also be made of what was read before the erasure and asked just after it: so for
`GRACE_S`, longer than any turn lasts, nothing of an erased user is kept at all. Bounded: when users are forgotten,
every user's questions from before then count as void.
"""

from __future__ import annotations

from collections import OrderedDict

from ngx_agents.clock import Clock

MAX_USERS = 65_536
GRACE_S = 120.0


class Erasures:
    """`epoch` is how many there have been on this instance; groups are as in `CacheKey`."""

    def __init__(self, clock: Clock, *, max_users: int = MAX_USERS) -> None:
        self.epoch = 0
        self._clock = clock
        self._max_users = max_users
        self._at: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._floor = 0

    def note(self, group: str) -> None:
        self.epoch += 1
        self._at[group] = self.epoch, self._clock.monotonic_s()
        self._at.move_to_end(group)
        if len(self._at) > self._max_users:
            _, (self._floor, _) = self._at.popitem(last=False)

    def is_void(self, group: str | None, epoch: int) -> bool:
        """Whether an answer to a question asked at `epoch` must not be kept, or found, because of an erasure."""
        if group is None:
            return False
        at = self._at.get(group)
        if at is None:
            return epoch < self._floor
        return epoch < at[0] or self._clock.monotonic_s() - at[1] < GRACE_S
