"""How many turns may be in flight: a bound that gives way when the model or the loop slows down, and comes back.

Additive increase, multiplicative decrease, between a floor and a cap that hang on the configured capacity, from signals
that do not depend on how long answers are, against fixed targets: baselines that are learnt on heavy-tailed durations
throttle a healthy server, and no bound at all collapses (`tests/resilience/admission_simulation.py`). Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

from ngx_agents.errors import ConfigError

MIN_SAMPLES = 10
MAX_SAMPLES = 512
LAG_SAMPLES = 100  # five seconds: of fewer the 99th percentile would be the one worst
STALE_STEPS = 10  # after so many steps a window that did not fill is thrown away


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """`capacity` is what was measured to be served well, in permits; the bound lies from half of it to `most` (twice).

    It is cut to `keep` when, within a second, any of these is passed: the 90th percentile of the time between output
    tokens by a quarter over `token_target_s`, that of the time to the first token over `first_token_target_s`, the 99th
    of the loop's lag over `lag_limit_s`, the mean wait for a model permit over `permit_wait_limit_s` (50 of them).
    """

    capacity: float
    most: float | None = None
    keep: float = 0.9
    token_target_s: float = 0.05
    first_token_target_s: float = 4.0
    lag_limit_s: float = 0.05
    permit_wait_limit_s: float = 0.25

    def __post_init__(self) -> None:
        if self.capacity < 1.0 or (self.most is not None and self.most < self.capacity):
            raise ConfigError("admission needs a capacity of at least 1, and no cap below it")
        if not 0.0 < self.keep < 1.0:
            raise ConfigError("what admission keeps of its bound lies between 0 and 1")
        if min(self.token_target_s, self.first_token_target_s, self.lag_limit_s, self.permit_wait_limit_s) <= 0.0:
            raise ConfigError("admission's targets are positive")

    @property
    def floor(self) -> float:
        return max(1.0, self.capacity / 2)

    @property
    def cap(self) -> float:
        return 2 * self.capacity if self.most is None else min(self.most, 2 * self.capacity)


class _Window:
    """Samples until they are judged: when there are enough, or never when they came too slowly."""

    __slots__ = ("_age", "_least", "_samples")

    def __init__(self, least: int) -> None:
        self._least = least
        self._samples: list[float] = []
        self._age = 0

    def add(self, value: float) -> None:
        if len(self._samples) < MAX_SAMPLES:
            self._samples.append(value)

    def judged(self) -> list[float]:
        """The samples, sorted, and a new window; empty while there are too few."""
        if len(self._samples) >= self._least:
            samples, self._samples, self._age = sorted(self._samples), [], 0
            return samples
        self._age += 1
        if self._age >= STALE_STEPS:
            self._samples, self._age = [], 0
        return []


class AdmissionLimit:
    """Told what calls came to; `step` once a second. `reason` is why it was cut last, empty when it was not."""

    def __init__(self, rules: LimitRules) -> None:
        self.rules = rules
        self.value = rules.capacity
        self.reason = ""
        self._tokens = _Window(MIN_SAMPLES)
        self._firsts = _Window(MIN_SAMPLES)
        self._lags = _Window(LAG_SAMPLES)
        self._waits = _Window(50)

    def token_took(self, seconds: float) -> None:
        """Mean time between the output tokens of one call that streamed."""
        self._tokens.add(seconds)

    def first_token_took(self, seconds: float) -> None:
        self._firsts.add(seconds)

    def loop_lagged(self, seconds: float) -> None:
        self._lags.add(seconds)

    def permit_took(self, seconds: float) -> None:
        """How long a call waited until it might go to the model; 0 for those that did not wait."""
        self._waits.add(seconds)

    def step(self, in_flight: float) -> None:
        """The bound for the next second."""
        rules = self.rules
        self.reason = self._trouble()
        if self.reason:
            self.value = max(rules.floor, rules.keep * self.value)
        elif in_flight >= self.value / 2:
            self.value = min(rules.cap, self.value + max(1.0, 2 * log10(self.value)))

    def _trouble(self) -> str:
        rules = self.rules
        found = (
            (_quantile(self._tokens.judged(), 0.9) > 1.25 * rules.token_target_s, "output tokens come slowly"),
            (_quantile(self._firsts.judged(), 0.9) > rules.first_token_target_s, "first tokens come late"),
            (_quantile(self._lags.judged(), 0.99) > rules.lag_limit_s, "the event loop lags"),
            (_mean(self._waits.judged()) > rules.permit_wait_limit_s, "calls wait for the model's permits"),
        )
        return next((reason for is_passed, reason in found if is_passed), "")


def _quantile(ordered: list[float], share: float) -> float:
    """0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
