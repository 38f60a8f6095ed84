"""What this instance last saw of the marks of erasure: a user's several questions within a few seconds ask once.

A mark is trusted for `TRUST_S`, and so is an entry in memory that was checked against it: so long, at most, an instance
gives out what another has erased.
"""

from __future__ import annotations

from collections import OrderedDict

from ngx_agents.clock import Clock

TRUST_S = 5.0
MAX_USERS = 10_000


class Marks:
    """The users seen last; groups are as in `CacheKey`."""

    def __init__(self, clock: Clock, *, max_users: int = MAX_USERS) -> None:
        self._clock = clock
        self._max_users = max_users
        self._seen: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def trusted(self, group: str) -> tuple[bytes, float] | None:
        """(the mark, when it was asked for), unless that is too long ago."""
        seen = self._seen.get(group)
        if seen is None or self._clock.monotonic_s() - seen[1] > TRUST_S:
            return None
        return seen

    def note(self, group: str, mark: bytes, asked_s: float) -> None:
        """What the shared tier answered; an answer to an earlier question does not replace a later one."""
        seen = self._seen.get(group)
        if seen is not None and seen[1] > asked_s:
            return
        self._seen[group] = mark, asked_s
        self._seen.move_to_end(group)
        if len(self._seen) > self._max_users:
            self._seen.popitem(last=False)

    def forget(self, group: str) -> None:
        self._seen.pop(group, None)
