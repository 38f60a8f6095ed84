"""How many of something each user has under way: what costs memory while it lasts, nobody has more than a number of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ngx_agents.errors import Overloaded
from ngx_agents.state.model import Owner


class OwnerCounts:
    """At most `most` of each owner. `what` is said to who has them: "64 streams of yours are open"."""

    def __init__(self, most: int, what: str, *, retry_after_s: float) -> None:
        self._most = most
        self._what = what
        self._retry_after_s = retry_after_s
        self._counts: Counter[Owner] = Counter()

    @property
    def total(self) -> int:
        return self._counts.total()

    @contextmanager
    def one_of(self, owner: Owner) -> Iterator[None]:
        """Counts it before anything is waited for, so that none of a burst slips by. Raises Overloaded."""
        self.take(owner)
        try:
            yield
        finally:
            self.give_back(owner)

    def take(self, owner: Owner) -> None:
        """Raises Overloaded."""
        if self._counts[owner] >= self._most:
            raise Overloaded(f"{self._most} {self._what}", retry_after_s=self._retry_after_s)
        self._counts[owner] += 1

    def give_back(self, owner: Owner) -> None:
        self._counts[owner] -= 1
        if not self._counts[owner]:
            del self._counts[owner]
