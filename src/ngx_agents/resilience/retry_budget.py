"""May one more call be repeated? Keeps retries a small share of calls, so that they never become the overload.

Two bounds, both must allow it. The bucket: every retry costs, every success returns a little, so that a partner who
only fails is soon asked once. The share: of the calls of the window, retries are at most a tenth. A small minimum per
window is allowed whatever both say, so that a quiet server retries at all.
Pure; one per partner (provider and model), used by the one layer that retries.
"""

from __future__ import annotations

from dataclasses import dataclass

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError
from ngx_agents.resilience.tally import Tally

CALLS, RETRIES = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRules:
    """`share` is retries per call within `window_s`; `minimum` retries per window are always allowed."""

    bucket: float = 100.0
    transient_cost: float = 10.0
    throttled_cost: float = 5.0
    success_return: float = 1.0
    share: float = 0.1
    minimum: int = 3
    window_s: float = 10.0

    def __post_init__(self) -> None:
        if min(self.bucket, self.transient_cost, self.throttled_cost, self.success_return, self.share) < 0.0:
            raise ConfigError("a retry budget has no negative numbers")
        if self.minimum < 0 or self.window_s <= 0.0:
            raise ConfigError("a retry budget needs a window, and a minimum that is not negative")


class RetryBudget:
    """`called()` for every first attempt, `succeeded()` for every success, `try_retry()` before every retry."""

    def __init__(self, rules: RetryRules, *, clock: Clock) -> None:
        self._rules = rules
        self._now_s = clock.monotonic_s
        self._left = rules.bucket
        self._window = Tally(rules.window_s, kinds=2)

    @property
    def left(self) -> float:
        """What the bucket holds."""
        return self._left

    def called(self) -> None:
        self._window.add(CALLS, self._now_s())

    def succeeded(self) -> None:
        self._left = min(self._rules.bucket, self._left + self._rules.success_return)

    def try_retry(self, *, throttled: bool = False) -> bool:
        """Whether one more attempt may be made; it is counted and paid for if so."""
        rules, window, now_s = self._rules, self._window, self._now_s()
        window.turn_to(now_s)
        retries = window.sums[RETRIES]
        cost = rules.throttled_cost if throttled else rules.transient_cost
        if retries >= rules.minimum and (self._left < cost or retries + 1 > rules.share * window.sums[CALLS]):
            return False
        self._left = max(0.0, self._left - cost)
        window.add(RETRIES, now_s)
        return True
