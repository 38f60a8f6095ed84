"""The arithmetic of places that several instances give out of one number: turns at once of a user, of a tenant. Pure.

Each instance gives a sixteenth of them without asking anybody; beyond that it holds places of those that all share, a
few ahead where there are many. So all instances together give out at most the limit, and a sixteenth more for each
that never had to ask. Where a limit is below sixteen, every place is asked for.
"""

from __future__ import annotations

FREE_SHARE = 16
AHEAD_SHARE = 16
LATE_SHARE = 4


class Places:
    """`used` here now; up to `held` nobody is asked; `others` is what all other instances held when last heard.

    `wanting` counts those who wait for an answer, `key` is what the others know it by. Of answers that overtake one
    another the one that was asked for last holds.
    """

    __slots__ = ("_asked", "_heard", "ahead", "held", "key", "others", "used", "wanting")

    def __init__(self) -> None:
        self.key = ""
        self.used = self.held = self.others = self.wanting = self.ahead = 0
        self._asked = self._heard = 0

    def fits(self, limit: int, *, is_shared: bool) -> bool:
        """Whether one more may be used at once."""
        if not is_shared:
            return self.used < limit
        held, free = self.held, limit // FREE_SHARE
        return self.used < (max(free, held)) and self.used < limit

    def wanted(self, limit: int) -> int:
        """How many to hold, so that everybody who waits gets a place; a few more where there are many."""
        left = max(0, limit - self.others - self.used)
        self.ahead = min(limit // AHEAD_SHARE, left // LATE_SHARE)
        return self.used + self.wanting + self.ahead

    @property
    def is_busy(self) -> bool:
        """Whether anything of it is used, held or waited for."""
        return bool(self.used or self.held or self.wanting)

    @property
    def is_surplus(self) -> bool:
        """Whether so many are held and not used that others should have them."""
        return self.held - self.used > self.ahead

    def asked(self) -> int:
        """The number of a question that is about to be sent."""
        self._asked += 1
        return self._asked

    def told(self, question: int, *, held: int, others: int) -> None:
        if question > self._heard:
            self._heard = question
            self.held, self.others = held, others

    def told_nothing(self, limit: int) -> None:
        """Nobody can be asked: this instance keeps the limit by itself, and says what it uses when it can."""
        self.held, self.others = max(self.held, min(limit, self.used + self.wanting)), 0
