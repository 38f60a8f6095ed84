"""How many turns of batches may run on this instance right now: arithmetic, nothing else."""

from __future__ import annotations

import msgspec

FIRST = 8
AT_ONCE = 32


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """When rounds of the event loop end later than `late_s` on average while at least `busy_per_s` turns of batches
    end in a second, these are in the way: fewer do not slow the loop, then somebody else does, and to hold back turns
    that wait for a model would help nobody. The cap climbs by its `climb`, one at least, and does not fall below
    `least`; `at_once` begin together."""

    late_s: float
    busy_per_s: float
    climb: float
    at_once: int
    least: int


ALONE = Pace(late_s=0.004, busy_per_s=50.0, climb=0.25, at_once=AT_ONCE, least=2)
"""Nobody else is here: all that is left over may be used."""
ATTENDED = Pace(late_s=0.0008, busy_per_s=20.0, climb=0.0, at_once=4, least=1)
"""Somebody is, whose turn waits about ten rounds of the loop: each must be short."""


class BatchCap:
    """Climbs while all that was allowed was used; halves when turns of batches slow the loop.

    When somebody comes it falls to FIRST at once, and climbs from there by ones. Never above `share` of the `places`:
    the rest stays free, so that whoever comes finds a place.
    """

    def __init__(self, *, places: int, share: float) -> None:
        self._places = places
        self._most = max(1, min(places, int(places * share)))
        self.cap = min(FIRST, self._most)
        self._pace = ALONE

    @property
    def at_once(self) -> int:
        """How many may begin together."""
        return self._pace.at_once

    def adapt(self, *, was_used: bool, lag_s: float, ended_per_s: float, is_attended: bool = False) -> None:
        """`lag_s` is how late the loop came round, on average; `was_used`: the last room, be it none, was filled."""
        if is_attended and self._pace is ALONE:
            self.cap = min(self.cap, FIRST)
        self._pace = pace = ATTENDED if is_attended else ALONE
        if lag_s > pace.late_s and ended_per_s >= pace.busy_per_s:
            self.cap = max(min(pace.least, self._most), self.cap // 2)
        elif was_used:
            self.cap = min(self._most, self.cap + max(1, int(self.cap * pace.climb)))

    def rest(self) -> None:
        """Nothing is open: what comes next begins as carefully as the first."""
        self.cap = min(self.cap, FIRST)

    def room(self, *, used: int, at_work: int) -> int:
        """How many more may begin, where `used` places are taken, `at_work` of them by batches."""
        return max(0, min(self.cap - at_work, self._most - used))
