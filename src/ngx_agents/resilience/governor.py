"""How fast calls may start at a pool that only ever says "too many" (429) and never how many.

The pace (starts per second) is learned from refusals: cut to 0.7 at most once per round trip, regained up to just below
what the pool gave when it refused, then probed beyond (`climb.py`). Before the first refusal, and again some time
after the last one, only a ramp bounds the starts: no faster than twice what was usual lately, because steep ramps are
refused in themselves. Calls in flight have a fixed bound. Pure: the caller asks `wait_s`, calls `start`, and tells
exactly one outcome for every start. A provider's other failures teach nothing here; they are the breaker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, sqrt

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, ThrottleKind
from ngx_agents.resilience.climb import Climb

UNDER = 0.95  # so much of what the pool gave when it refused is regained at once
IN_DEMAND = 0.7  # so much of the pace must be used before it grows
PROBE = 0.3  # the first step beyond is this times the fourth root of the pace: small callers catch up with large ones
RATE_OVER_S = 1.0  # over which starts and refusals per second are averaged
BURST_OVER_S = 0.25  # the same for a sudden start, which the longer average has not seen yet
USUAL_OVER_S = 2.0  # what "usual lately" means to the ramp
DOUBTFUL = 5.0  # starts that refusals must outweigh before their share is believed
LEARNING_CALLS = 5.0  # a step of a slow pace lasts as long as this many calls …
SLOWEST = 3.0  # … but at most this much longer than that of a fast one
MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class GovernorRules:
    """`keep`: share of the pace kept when refused, at most once in `cut_every_s` and per round trip. `regain_s`,
    `doubling_s`: see `Climb`; a quota per minute is probed slowly, by `quota_doubling_s`. After `forget_s` without a
    refusal only the ramp bounds again: `ramp_floor_per_s` may always start, that many even at once, or `ramp_factor`
    times what was usual. At a learned pace, starts that are `burst_s` late are made up for. `max_hold_s` bounds what a
    Retry-After can do.
    """

    keep: float = 0.7
    cut_every_s: float = 0.3
    regain_s: float = 1.0
    doubling_s: float = 1.0
    quota_doubling_s: float = 30.0
    forget_s: float = 60.0
    min_pace_per_s: float = 0.2
    burst_s: float = 0.01
    ramp_floor_per_s: float = 100.0
    ramp_factor: float = 2.0
    max_in_flight: int = 1000
    max_hold_s: float = 120.0

    def __post_init__(self) -> None:
        if not 0.0 < self.keep < 1.0:
            raise ConfigError("what a governor keeps of its pace lies between 0 and 1")
        if min(self.regain_s, self.doubling_s, self.quota_doubling_s, self.forget_s) <= 0.0:
            raise ConfigError("a governor's times are positive")
        if min(self.cut_every_s, self.burst_s, self.max_hold_s) < 0.0:
            raise ConfigError("a governor's times are not negative")
        if self.min_pace_per_s <= 0.0 or self.ramp_floor_per_s < 1.0 or self.ramp_factor < 1.0:
            raise ConfigError("a governor must let calls start")
        if self.max_in_flight < 1:
            raise ConfigError("a governor must let calls be in flight")


class Governor:
    """The bounds of one lane. `in_flight` and `kind` (of the last refusal) are for reading only."""

    def __init__(self, rules: GovernorRules, *, clock: Clock) -> None:
        self._rules = rules
        self._clock = clock
        self._now_s = clock.monotonic_s
        self.in_flight = 0
        self.kind: ThrottleKind = "shared"
        self._pace: Climb | None = None  # None: nothing is learned
        self._credit = rules.ramp_floor_per_s  # starts that may happen now
        self._at_s = self._now_s()  # to which all below is up to date
        self._usual_per_s = 0.0
        self._starts_per_s = 0.0
        self._burst_per_s = 0.0
        self._refusals_per_s = 0.0
        self._refused_at_s = self._cut_at_s = self._held_until_s = -inf
        self._minute_ends_s = -inf
        self._in_minute = 0  # starts in this minute of the wall clock

    @property
    def pace_per_s(self) -> float:
        """The pace that was learned; infinite while none is."""
        return inf if self._pace is None else self._pace.value

    @property
    def overflows(self) -> bool:
        """Whether what does not fit now belongs elsewhere at once: capacity that was bought is used up."""
        return self.kind == "provisioned" and self._pace is not None

    def wait_s(self) -> float:
        """Seconds until one more may start; 0 is now, infinite is when a call in flight ends."""
        wait_s = self.estimate_s(0)
        return inf if self.in_flight >= self._rules.max_in_flight else wait_s

    def estimate_s(self, ahead: int) -> float:
        """Seconds until one may start that comes after `ahead` others, were there room in flight."""
        now_s = self._now_s()
        self._advance(now_s)
        wait_s = self._held_until_s - now_s
        if self._credit < ahead + 1.0:
            wait_s = max(wait_s, (ahead + 1.0 - self._credit) / self._allowed_per_s())
        return max(0.0, wait_s)

    def start(self) -> float:
        """Counts a start that `wait_s` allows; returns its time, which `throttled` is told."""
        self._credit -= 1.0
        self.in_flight += 1
        self._usual_per_s += 1.0 / USUAL_OVER_S
        self._starts_per_s += 1.0 / RATE_OVER_S
        self._burst_per_s += 1.0 / BURST_OVER_S
        if self._at_s >= self._minute_ends_s:
            self._minute_ends_s, self._in_minute = self._at_s + self._minute_left_s(), 0
        self._in_minute += 1
        return self._at_s

    def ended(self) -> None:
        """A call is over, whatever it came to but a refusal."""
        self.in_flight -= 1

    def throttled(self, started_s: float, *, kind: ThrottleKind = "shared", retry_after_s: float | None = None) -> None:
        """The call started at `started_s` was refused (429). Nothing starts within `retry_after_s`; within a quota's
        minute neither."""
        now_s = self._now_s()
        self._advance(now_s)
        self.in_flight -= 1
        self.kind = kind
        self._refused_at_s = now_s
        self._refusals_per_s += 1.0 / RATE_OVER_S
        if retry_after_s is not None:
            self._held_until_s = max(self._held_until_s, now_s + min(retry_after_s, self._rules.max_hold_s))
        if kind == "quota":
            self._held_until_s = max(self._held_until_s, now_s + self._minute_left_s())
        if started_s > self._cut_at_s and now_s >= self._cut_at_s + self._rules.cut_every_s:
            self._cut_at_s = now_s
            self._cut()

    def _cut(self) -> None:
        rules = self._rules
        asked_per_s = max(self._starts_per_s, self._burst_per_s)
        if self._pace is not None:
            asked_per_s = min(self._pace.value, asked_per_s / IN_DEMAND)
        given_per_s = asked_per_s * (1.0 - self._refusals_per_s / (self._starts_per_s + DOUBTFUL))
        if self.kind == "quota":
            given_per_s = min(given_per_s, self._in_minute / MINUTE_S)
        given_per_s = max(given_per_s, rules.min_pace_per_s)
        low_per_s = max(rules.min_pace_per_s, min(rules.keep * asked_per_s, UNDER * given_per_s))
        slowly = max(1.0, min(SLOWEST, LEARNING_CALLS / given_per_s))
        self._pace = Climb(
            low=low_per_s,
            target=max(low_per_s, UNDER * given_per_s),
            step=PROBE * sqrt(sqrt(max(1.0, given_per_s))),
            regain_s=slowly * rules.regain_s,
            doubling_s=slowly * rules.doubling_s if self.kind != "quota" else rules.quota_doubling_s,
        )
        self._credit = min(self._credit, 0.0)

    def _minute_left_s(self) -> float:
        return MINUTE_S - self._clock.now_s() % MINUTE_S

    def _allowed_per_s(self) -> float:
        rules = self._rules
        ramp_per_s = max(rules.ramp_floor_per_s, rules.ramp_factor * self._usual_per_s)
        return ramp_per_s if self._pace is None else min(ramp_per_s, self._pace.value)

    def _advance(self, now_s: float) -> None:
        passed_s = now_s - self._at_s
        if passed_s <= 0.0:
            return
        self._at_s = now_s
        is_short = self._credit < 1.0
        allowed_per_s = self._allowed_per_s()
        left = exp(-passed_s / RATE_OVER_S)
        self._starts_per_s *= left
        self._usual_per_s *= sqrt(left)  # USUAL_OVER_S is twice, BURST_OVER_S a quarter of RATE_OVER_S
        self._burst_per_s *= left * left * left * left
        if self._pace is None:
            most = self._rules.ramp_floor_per_s
        else:
            most = 1.0 + self._rules.burst_s * allowed_per_s
            self._learn(self._pace, passed_s, is_short=is_short)
        self._credit = min(most, self._credit + passed_s * allowed_per_s)

    def _learn(self, pace: Climb, passed_s: float, *, is_short: bool) -> None:
        asked_s = min(passed_s, self._at_s - self._held_until_s)
        if asked_s <= 0.0:
            return  # the pool was not asked, so nothing was learned
        pace.advance(asked_s, is_wanted=is_short or self._starts_per_s >= IN_DEMAND * pace.value)
        self._refusals_per_s *= exp(-passed_s / RATE_OVER_S)
        if self._at_s > max(self._refused_at_s, self._held_until_s) + self._rules.forget_s:
            self._pace = None
            self._refusals_per_s = 0.0
