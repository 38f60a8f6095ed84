"""The event streams that each user reads: idle ones cost memory, so nobody has more than a number."""

from __future__ import annotations

from ngx_agents.gateway.event_stream import Readable
from ngx_agents.gateway.owner_counts import OwnerCounts
from ngx_agents.state.model import Owner


def open_streams(most: int) -> OwnerCounts:
    return OwnerCounts(most, "streams of yours are open", retry_after_s=5.0)


class CountedStream:
    """A subscription that was counted, until it is closed."""

    __slots__ = ("_counted", "_owner", "_subscription", "read")

    def __init__(self, subscription: Readable, counted: OwnerCounts, owner: Owner) -> None:
        self._subscription = subscription
        self._counted = counted
        self._owner = owner
        self.read = subscription.read

    def close(self) -> None:
        self._subscription.close()
        self._counted.give_back(self._owner)
