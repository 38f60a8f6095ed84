"""How many turns of batches may run on this instance right now: arithmetic, nothing else."""

from __future__ import annotations

FIRST = 8
LEAST = 2
SLOW_LOOP_S = 0.004
"""When rounds of the event loop take longer, whoever talks to the server waits for batches: a turn takes about ten."""


class BatchCap:
    """Climbs by an eighth while all that was allowed was used and the loop is quick; halves when the loop is slow.

    Never above `share` of the `places`: the rest stays free, so that whoever comes finds a place at once.
    """

    def __init__(self, *, places: int, share: float) -> None:
        self._places = places
        self._most = max(1, min(places, int(places * share)))
        self.cap = min(FIRST, self._most)

    def adapt(self, *, was_used: bool, lag_s: float) -> None:
        """`lag_s` is how late the loop came round, on average; `was_used`: the last room was filled."""
        if lag_s > SLOW_LOOP_S:
            self.cap = max(min(LEAST, self._most), self.cap // 2)
        elif was_used:
            self.cap = min(self._most, self.cap + max(1, self.cap // 8))

    def room(self, *, used: int, at_work: int) -> int:
        """How many more may begin, where `used` places are taken, `at_work` of them by batches."""
        return max(0, min(self.cap - at_work, self._most - used))
