"""Which users were erased while answers of theirs were being made: such an answer must not be kept afterwards.

Erasures are counted. A question remembers the count at which it was asked; an answer to it is void when its user was
erased after that. Bounded: when users are forgotten, every user's questions from before then count as void.
"""

from __future__ import annotations

from collections import OrderedDict

MAX_USERS = 65_536


class Erasures:
    """`epoch` is how many there have been; groups are as in `CacheKey`."""

    def __init__(self, *, max_users: int = MAX_USERS) -> None:
        self.epoch = 0
        self._max_users = max_users
        self._at: OrderedDict[str, int] = OrderedDict()
        self._floor = 0

    def note(self, group: str) -> None:
        self.epoch += 1
        self._at[group] = self.epoch
        self._at.move_to_end(group)
        if len(self._at) > self._max_users:
            _, self._floor = self._at.popitem(last=False)

    def is_void(self, group: str | None, epoch: int) -> bool:
        """Whether a question asked at `epoch` was asked before its user was erased."""
        return group is not None and epoch < self._at.get(group, self._floor)
