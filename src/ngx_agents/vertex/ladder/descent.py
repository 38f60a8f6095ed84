"""Where to try next after an error, and when: decisions only, no waiting and no calls.

On a rung a call is repeated while the error, the count, the budget and the deadline allow it; then the next rung is
tried. An error that no other rung can help (the request itself, a safety filter) ends it at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import (
    ModelAuthError,
    ModelBlocked,
    ModelError,
    ModelNotFound,
    ModelRequestError,
    ModelThrottled,
)
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.vertex.ladder.way import Way

FINAL = (ModelRequestError, ModelBlocked)
BATCH = 3
MAX_FAILOVERS = 6  # times a broken stream is begun again; they answer to this bound and not to the retry budget
FAILOVER_BASE_S = 0.05
LEAVE_SHARE = 0.25  # of the time that is left goes to the rungs below
LEAVE_AT_MOST_S = 10.0


class RetryLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`max_retries` bounds batch work, `max_interactive` everything more urgent. Delays are full jitter on `base_s`."""

    max_retries: int = 5
    max_interactive: int = 2
    base_s: float = 1.0
    cap_s: float = 8.0


class Step(msgspec.Struct, frozen=True):
    """Try `way`, `delay_s` from now."""

    way: Way
    delay_s: float = 0.0


class Descent:
    """One request's way down. `ways` is not empty."""

    def __init__(
        self,
        ways: Sequence[Way],
        *,
        urgency: int,
        deadline_s: float,
        limits: RetryLimits,
        clock: Clock,
        rng: Rng,
    ) -> None:
        self.way = self._top = ways[0]
        self.tries = 1
        self.verdict: ModelError | None = None
        self._below = list(ways[1:])
        self._most = limits.max_retries if urgency >= BATCH else min(limits.max_interactive, limits.max_retries)
        self._deadline_s = deadline_s
        self._limits = limits
        self._clock = clock
        self._rng = rng
        self._repeats = 0  # on this rung
        self._failovers = 0
        self.way.budget.called()

    def until_s(self) -> float:
        """When this try must end, so that the rungs below it still have their time."""
        if not self._below:
            return self._deadline_s
        left_s = self._deadline_s - self._clock.monotonic_s()
        return self._deadline_s - min(LEAVE_SHARE * left_s, LEAVE_AT_MOST_S)

    def after(self, error: ModelError, *, was_heard: bool) -> Step | None:
        """The next try, or None: `verdict`, the top rung's last word, is what the caller is told.

        `was_heard`: text had been given out.
        """
        if self.way is self._top or isinstance(error, FINAL):
            self.verdict = error
        if isinstance(error, FINAL):
            return None
        step = self._again(error, was_heard) or self._down(error)
        if step is not None:
            self.tries += 1
        return step

    def _again(self, error: ModelError, was_heard: bool) -> Step | None:
        if not error.retryable:
            return None
        left_s = self._deadline_s - self._clock.monotonic_s()
        if was_heard:
            if self._failovers >= MAX_FAILOVERS:
                return None
            self._failovers += 1
            delay_s = self._rng.uniform(0.0, FAILOVER_BASE_S * self._failovers)
        else:
            if self._repeats >= self._most:
                return None
            delay_s = next_delay_s(self._repeats, base_s=self._limits.base_s, cap_s=self._limits.cap_s, rng=self._rng)
        delay_s = max(delay_s, error.retry_after_s or 0.0)
        if left_s < delay_s + self.way.typical_first_token_s:
            return None
        if not was_heard:
            if not self.way.budget.try_retry(throttled=isinstance(error, ModelThrottled)):
                return None
            self._repeats += 1
        return Step(self.way, delay_s)

    def _down(self, error: ModelError) -> Step | None:
        if self._clock.monotonic_s() >= self._deadline_s:
            return None
        while self._below:
            way = self._below.pop(0)
            if _can_differ(error, self.way, way):
                self.way, self._repeats = way, 0
                way.budget.called()
                return Step(way)
        return None


def _can_differ(error: ModelError, failed: Way, other: Way) -> bool:
    """Whether `other` may answer where `failed` gave `error`."""
    if isinstance(error, ModelAuthError):
        return other.rung.target.credentials is not failed.rung.target.credentials
    if isinstance(error, ModelNotFound):
        return (other.rung.target, other.model) != (failed.rung.target, failed.model)
    return True
