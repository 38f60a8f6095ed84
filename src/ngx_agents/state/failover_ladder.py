"""When the journal counts as away, and when as back: decided from how calls end, with hysteresis. No I/O.

It falls after several failures in a row that last for a moment, so that one lost connection or one slow lock changes
nothing; it returns after several probes in a row succeeded. Who fell again soon after a return needs twice as many.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError


class LadderRules(msgspec.Struct, frozen=True, kw_only=True):
    """`falls_after` failures in a row over at least `falls_after_s`; back after `returns_after` successes in a row,
    doubled for each return that did not last `steady_s`, up to `max_returns_after`."""

    falls_after: int = 3
    falls_after_s: float = 0.5
    returns_after: int = 3
    steady_s: float = 60.0
    max_returns_after: int = 24

    def __post_init__(self) -> None:
        if self.falls_after < 1 or not 1 <= self.returns_after <= self.max_returns_after:
            raise ConfigError("the failover's counts are at least 1, and returns_after at most max_returns_after")


class Losses:
    """Where a journal says that its database cannot be reached, for whoever stands before it.

    A call may wait for long until the fate of its COMMIT is known; what it meets meanwhile is heard of here.
    """

    def __init__(self) -> None:
        self._hear: Callable[[str], None] | None = None

    def heard_by(self, hear: Callable[[str], None]) -> None:
        """`hear` gets the reason, each time; there is one that hears."""
        self._hear = hear

    def tell(self, reason: str) -> None:
        if self._hear is not None:
            self._hear(reason)


class Ladder:
    """`failed` and `succeeded` tell it of every attempt to write. Only monotonic time counts."""

    def __init__(self, rules: LadderRules, *, clock: Clock) -> None:
        self.is_away = False
        self.reason = ""
        self.since_s = clock.monotonic_s()
        self._rules = rules
        self._now_s = clock.monotonic_s
        self._failures = 0
        self._first_failure_s = 0.0
        self._successes = 0
        self._needed = rules.returns_after
        self._returned_s: float | None = None

    def failed(self, reason: str) -> None:
        now_s = self._now_s()
        self._successes = 0
        if self.is_away:
            self.reason = reason
            return
        if self._failures == 0:
            self._first_failure_s = now_s
        self._failures += 1
        if self._failures >= self._rules.falls_after and now_s - self._first_failure_s >= self._rules.falls_after_s:
            self.fall(reason)

    def succeeded(self) -> None:
        self._failures = 0
        if not self.is_away:
            return
        self._successes += 1
        if self._successes >= self._needed:
            self.is_away = False
            self.reason = ""
            self.since_s = self._returned_s = self._now_s()

    def fall(self, reason: str) -> None:
        """Away from now on, whatever was before: at a start, when it cannot be reached."""
        if self.is_away:
            return
        now_s = self._now_s()
        was_steady = self._returned_s is None or now_s - self._returned_s >= self._rules.steady_s
        doubled = min(2 * self._needed, self._rules.max_returns_after)
        self._needed = self._rules.returns_after if was_steady else doubled
        self.is_away, self.reason, self.since_s = True, reason, now_s
        self._failures = self._successes = 0

    @property
    def successes_needed(self) -> int:
        """How many more successes in a row bring it back; 0 when it is not away."""
        return self._needed - self._successes if self.is_away else 0
