"""How many turns of batches may run on this instance right now: arithmetic, nothing else."""

from __future__ import annotations

FIRST = 8
LEAST = 2
SLOW_LOOP_S = 0.004
"""When rounds of the event loop take longer, whoever talks to the server waits for batches: a turn takes about ten."""
BUSY_PER_S = 50.0
"""Turns of batches that end in a second. Fewer do not slow the loop: then somebody else does, and to hold back turns
that wait for a model would help nobody."""


class BatchCap:
    """Climbs by a quarter while all that was allowed was used; halves when many turns of batches slow the loop.

    Never above `share` of the `places`: the rest stays free, so that whoever comes finds a place at once.
    """

    def __init__(self, *, places: int, share: float) -> None:
        self._places = places
        self._most = max(1, min(places, int(places * share)))
        self.cap = min(FIRST, self._most)

    def adapt(self, *, was_used: bool, lag_s: float, ended_per_s: float) -> None:
        """`lag_s` is how late the loop came round, on average; `was_used`: the last room was filled."""
        if lag_s > SLOW_LOOP_S and ended_per_s >= BUSY_PER_S:
            self.cap = max(min(LEAST, self._most), self.cap // 2)
        elif was_used:
            self.cap = min(self._most, self.cap + max(1, self.cap // 4))

    def room(self, *, used: int, at_work: int) -> int:
        """How many more may begin, where `used` places are taken, `at_work` of them by batches."""
        return max(0, min(self.cap - at_work, self._most - used))
