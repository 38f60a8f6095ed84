"""How many event streams each user has open here: idle ones cost memory, so nobody has more than a number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ngx_agents.errors import Overloaded
from ngx_agents.gateway.event_stream import Readable
from ngx_agents.state.model import Owner

RETRY_AFTER_S = 5.0


class OpenStreams:
    """At most `most` of each owner; none are counted for owners who have none."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[Owner] = Counter()

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
        if self._open[owner] >= self._most:
            raise Overloaded(f"{self._most} streams of yours are open", retry_after_s=RETRY_AFTER_S)
        self._open[owner] += 1

    def give_back(self, owner: Owner) -> None:
        self._open[owner] -= 1
        if self._open[owner] <= 0:
            del self._open[owner]


class CountedStream:
    """A subscription that was counted, until it is closed."""

    __slots__ = ("_counted", "_owner", "_subscription", "read")

    def __init__(self, subscription: Readable, counted: OpenStreams, owner: Owner) -> None:
        self._subscription = subscription
        self._counted = counted
        self._owner = owner
        self.read = subscription.read

    def close(self) -> None:
        self._subscription.close()
        self._counted.give_back(self._owner)
