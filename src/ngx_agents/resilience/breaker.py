"""A circuit breaker: is it worth asking at all?

Closed it counts what calls came to in a sliding window; open it refuses; half-open it lets a few probes through.
Pure: no I/O, no task, no lock; one event loop (or one thread) uses it. What is a failure is the caller's to say:
connect errors, 5xx, time-outs and malformed answers are; refusals of the request, cancels, own deadlines and 429 are
`ignored`. Each admitted call settles its ticket once; the first word counts, later ones are not heard. An outcome of a
call admitted before the current state began is not counted. Probes that never settle are given up after a window, so
that a lost ticket cannot keep a breaker half-open for ever.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ConfigError
from ngx_agents.resilience.tally import Tally

BreakerState = Literal["closed", "open", "half_open", "forced_open", "forced_closed"]
CALLS, FAILED, SLOW = 0, 1, 2
OPEN_JITTER = 0.2  # breakers that opened together do not probe together
PROBE_WAIT_S = 1.0  # told to those refused while probes are out


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """Opens at `min_calls` calls within `window_s` of which `failure_share` failed or `slow_share` were slow (both
    inclusive), or at `min_calls` failures in a row. Stays open `min(max_open_s, open_s * 2^n) +- 20 %`, n being how
    often it reopened without closing. `probes` successes close it."""

    min_calls: int = 10
    failure_share: float = 0.5
    slow_share: float = 0.5
    window_s: float = 30.0
    open_s: float = 30.0
    max_open_s: float = 60.0
    probes: int = 3

    def __post_init__(self) -> None:
        if self.min_calls < 1 or self.probes < 1:
            raise ConfigError("a breaker needs at least one call to judge by and one probe")
        if not (0.0 < self.failure_share <= 1.0 and 0.0 < self.slow_share <= 1.0):
            raise ConfigError("the shares that open a breaker lie in (0, 1]")
        if not (self.window_s > 0.0 and 0.0 < self.open_s <= self.max_open_s):
            raise ConfigError("a breaker's window and open time are positive, and open_s is at most max_open_s")


class Ticket:
    """An admitted call. Exactly one of its three methods is called, once the outcome is known."""

    __slots__ = ("_breaker", "_era", "_is_settled")

    def __init__(self, breaker: Breaker, era: int) -> None:
        self._breaker = breaker
        self._era = era
        self._is_settled = False

    def succeeded(self, *, slow: bool = False) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._breaker._settle(self._era, slow=slow)

    def failed(self) -> None:
        if not self._is_settled:
            self._is_settled = True
            self._breaker._settle(self._era, failed=True)

    def ignored(self) -> None:
        """The call says nothing of the other side: it was cancelled, throttled, or wrong itself."""
        if not self._is_settled:
            self._is_settled = True
            self._breaker._free(self._era)


class Breaker:
    """One per thing that can fail on its own. `on_change(state, reason)` hears of every change of state."""

    def __init__(
        self,
        rules: BreakerRules,
        *,
        clock: Clock,
        rng: Rng,
        on_change: Callable[[BreakerState, str], None] | None = None,
    ) -> None:
        self._rules = rules
        self._now_s = clock.monotonic_s
        self._rng = rng
        self._on_change = on_change
        self._window = Tally(rules.window_s, kinds=3)
        self._state: BreakerState = "closed"
        self._reason = ""
        self._era = 0  # grows with every change of state
        self._failures_in_a_row = 0
        self._openings = 0
        self._until_s = 0.0  # open: when it ends; half-open: when silent probes are given up
        self._probes_free = 0
        self._probes_passed = 0

    @property
    def state(self) -> BreakerState:
        """What the next call meets."""
        if self._state == "open" and self._now_s() >= self._until_s:
            return "half_open"
        return self._state

    @property
    def reason(self) -> str:
        """Why it is in this state, empty while it has always been closed."""
        return self._reason

    @property
    def retry_after_s(self) -> float:
        """Seconds until asking again can help; 0 when a call would be admitted now."""
        if self._state == "forced_open":
            return self._rules.open_s
        left_s = self._until_s - self._now_s()
        if self._state == "open":
            return max(0.0, left_s)
        if self._state == "half_open" and not self._probes_free:
            return min(PROBE_WAIT_S, max(0.0, left_s))
        return 0.0

    def admit(self) -> Ticket | None:
        """A ticket to be settled once, or None: refused, `retry_after_s` says for how long."""
        if self._state == "closed" or self._state == "forced_closed":
            return Ticket(self, self._era)
        if self._state == "forced_open":
            return None
        now_s = self._now_s()
        if now_s >= self._until_s:
            self._half_open("open long enough" if self._state == "open" else "probes without an outcome")
        if self._state == "open" or not self._probes_free:
            return None
        self._probes_free -= 1
        return Ticket(self, self._era)

    def suspect(self, reason: str) -> None:
        """A hint from elsewhere that the other side fails: closed becomes half-open, so that few find out."""
        if self._state == "closed":
            self._half_open(reason)

    def force_open(self, reason: str) -> None:
        """Switched off by hand: refuses until `force_closed` or `automatic`."""
        self._change("forced_open", reason)

    def force_closed(self, reason: str = "by hand") -> None:
        """Switched on by hand: admits whatever calls come to, until `force_open` or `automatic`."""
        self._change("forced_closed", reason)

    def automatic(self) -> None:
        """Gives it back to its rules: closed, with nothing remembered."""
        self._openings = 0
        self._change("closed", "automatic")

    def _settle(self, era: int, *, failed: bool = False, slow: bool = False) -> None:
        if era != self._era:
            return
        if self._state == "closed":
            self._count(failed, slow)
        elif self._state == "half_open":
            self._probed(failed, slow)

    def _count(self, failed: bool, slow: bool) -> None:
        window, now_s = self._window, self._now_s()
        window.add(CALLS, now_s)
        if failed:
            window.add(FAILED, now_s)
            is_alone = window.sums[CALLS] == 1  # nobody called for a whole window: what was before does not count
            self._failures_in_a_row = 1 if is_alone else self._failures_in_a_row + 1
        else:
            self._failures_in_a_row = 0
            if slow:
                window.add(SLOW, now_s)
        if self._failures_in_a_row >= self._rules.min_calls:
            self._open("failures in a row")
        elif window.sums[CALLS] >= self._rules.min_calls:
            self._judge(*window.sums)

    def _judge(self, calls: int, failed: int, slow: int) -> None:
        if failed >= self._rules.failure_share * calls:
            self._open("failures")
        elif slow >= self._rules.slow_share * calls:
            self._open("slow")

    def _probed(self, failed: bool, slow: bool) -> None:
        if failed or slow:
            self._open("a probe failed" if failed else "a probe was slow")
            return
        self._probes_passed += 1
        if self._probes_passed >= self._rules.probes:
            self._openings = 0
            self._change("closed", "probes succeeded")

    def _free(self, era: int) -> None:
        if era == self._era and self._state == "half_open":
            self._probes_free += 1

    def _open(self, reason: str) -> None:
        rules = self._rules
        open_s = min(rules.max_open_s, rules.open_s * 2.0 ** min(self._openings, 30))
        self._openings += 1
        self._until_s = self._now_s() + open_s * self._rng.uniform(1.0 - OPEN_JITTER, 1.0 + OPEN_JITTER)
        self._change("open", reason)

    def _half_open(self, reason: str) -> None:
        self._probes_free, self._probes_passed = self._rules.probes, 0
        self._until_s = self._now_s() + self._rules.window_s
        self._change("half_open", reason)

    def _change(self, state: BreakerState, reason: str) -> None:
        self._state, self._reason = state, reason
        self._era += 1
        self._failures_in_a_row = 0
        self._window = Tally(self._rules.window_s, kinds=3)
        if self._on_change is not None:
            self._on_change(state, reason)
