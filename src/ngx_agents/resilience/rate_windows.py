"""The arithmetic of a limit per window of the clock that several instances keep together. Pure.

Each instance may use a sixteenth of a limit before it asks anybody; beyond that it takes batches from a count that all
share, so that most users cost no message at all. All instances together let pass at most the limit, and a sixteenth
more for each instance that never had to ask. A window's end is known, so that what a refused caller is told is true.
"""

from __future__ import annotations

FREE_SHARE = 16
BATCH_SHARE = 16
LATE_SHARE = 4


class Window:
    """What one user has used of one limit in the window that is. `index` numbers windows of a length.

    `counted` of the `used` (or of what may still be used) is in the shared count; up to `allowed` nobody is asked.
    """

    __slots__ = ("allowed", "counted", "heard", "index", "is_final", "limit", "used")

    def __init__(self) -> None:
        self.index = -1
        self.limit = self.used = self.counted = self.allowed = self.heard = 0
        self.is_final = False

    def enter(self, index: int, limit: int, *, is_shared: bool) -> None:
        """It is the window `index` now, with this limit. A changed limit keeps what was used."""
        if index == self.index and limit == self.limit:
            return
        if index != self.index:
            self.index, self.limit = index, limit
            self.used = self.counted = self.heard = 0
            self.allowed = limit // FREE_SHARE if is_shared else limit
            self.is_final = not is_shared
        else:
            self.limit, self.is_final = limit, not is_shared
            self.allowed = min(self.allowed, limit) if is_shared else limit

    def has(self, amount: int) -> bool:
        return self.used + amount <= self.allowed

    @property
    def left(self) -> int:
        """What this instance believes is left of the whole limit."""
        used = self.used
        if self.heard:
            used = max(used, self.heard - self.counted + used)
        return self.limit - used if used < self.limit else 0

    def wanted(self, amount: int) -> int:
        """How much to add to the shared count, so that `amount` fits: what is not in it yet, and a batch."""
        late = max(0, self.limit - self.heard) // LATE_SHARE if self.heard else self.limit
        batch = max(amount, min(self.limit // BATCH_SHARE, late))
        return max(0, self.used - self.counted) + batch

    def told(self, asked: int, total: int) -> None:
        """The shared count is `total` with what we `asked` added. What went beyond the limit was not granted."""
        granted = min(asked, max(0, self.limit - (total - asked)))
        self.counted += granted
        self.heard = total
        self.allowed = self.counted
        self.is_final = granted < asked

    def told_nothing(self, amount: int) -> None:
        """The shared count cannot be reached: one batch more on our own account, to be counted when it can."""
        self.allowed = min(self.limit, max(self.allowed, self.used) + max(amount, self.limit // BATCH_SHARE))
