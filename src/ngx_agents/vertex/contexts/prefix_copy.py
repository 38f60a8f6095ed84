"""One prefix at one place: its demand, its copy if it has one, and what was learnt from earlier copies."""

from __future__ import annotations

from ngx_agents.errors import ModelAuthError, ModelError, ModelNotFound, ModelRequestError
from ngx_agents.vertex.contexts import plan
from ngx_agents.vertex.contexts.attempts import Attempts
from ngx_agents.vertex.contexts.provider import ContextTarget, Kept
from ngx_agents.vertex.contexts.settings import Prices

FIRST_PAUSE_S, MAX_PAUSE_S = 60.0, 3600.0
REFUSED_PAUSE_S = 6 * 3600.0
MAX_DOUBTS = 3


class PrefixCopy:
    """`is_busy` while a call about it is under way: there is never more than one. Times are monotonic."""

    __slots__ = (
        "_attempts", "_caution", "_doubts", "_failures", "_paused_until_s", "_prices", "_since_s", "_uses",
        "demand", "is_busy", "is_doubted", "kept", "key", "target",
    )  # fmt: skip

    def __init__(self, key: str, target: ContextTarget, prices: Prices, *, max_attempts_per_hour: int) -> None:
        self.key = key
        self.target = target
        self.kept: Kept | None = None
        self.is_busy = False
        self.is_doubted = False
        self.demand: plan.Demand | None = None
        self._prices = prices
        self._attempts = Attempts(max_attempts_per_hour)
        self._caution = plan.FIRST_CAUTION
        self._failures = 0
        self._doubts = 0
        self._paused_until_s = 0.0
        self._since_s = 0.0
        self._uses = 0

    def arrive(self, now_s: float) -> str | None:
        """Counts one more request for the prefix; the name of the copy it may use."""
        if self.kept is not None and now_s >= self.kept.until_s:
            self.lose(self.kept.until_s)
        is_usable = self.kept is not None and not self.is_doubted
        self.demand = plan.seen(self.demand, self._prices, now_s=now_s, is_kept=is_usable)
        if self.kept is None or self.is_doubted:
            return None
        self._uses += 1
        return self.kept.name

    def should_make(self, now_s: float) -> bool:
        if self.kept is not None or self.is_busy or now_s < self._paused_until_s or self.demand is None:
            return False
        is_worth_it = plan.is_worth_making(self.demand, self._prices, caution=self._caution)
        return is_worth_it and self._attempts.may_one(now_s)

    def should_renew(self, now_s: float) -> bool:
        """When half of its time is gone and its uses pay for more."""
        if self.kept is None or self.is_busy or self.demand is None:
            return False
        is_old = self.kept.until_s - now_s < self.ttl_s / 2
        return is_old and plan.is_worth_renewing(self.demand, self._prices) and now_s >= self._paused_until_s

    @property
    def ttl_s(self) -> int:
        return plan.ttl_s(self._prices)

    def try_making(self, now_s: float) -> None:
        self._attempts.note(now_s)

    def gain(self, kept: Kept, now_s: float) -> None:
        """There is a copy now."""
        self.kept = kept
        self.is_doubted = False
        self._failures = self._doubts = self._uses = 0
        self._since_s = now_s

    def prolong(self, kept: Kept) -> None:
        """It was renewed."""
        self.trust(kept)
        self._doubts = 0

    def trust(self, kept: Kept) -> None:
        """It was looked up, and is there."""
        self.kept = kept
        self.is_doubted = False
        self._failures = 0

    def pause(self, error: ModelError, now_s: float) -> None:
        """A call about it failed: the next is made after a while, long after when it was refused."""
        self._failures += 1
        if isinstance(error, ModelRequestError | ModelAuthError | ModelNotFound):
            delay_s = REFUSED_PAUSE_S
        else:
            delay_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** (self._failures - 1))
        self._paused_until_s = now_s + max(delay_s, min(error.retry_after_s or 0.0, MAX_PAUSE_S))

    def doubt(self, now_s: float) -> None:
        """A call that used the copy was refused: it is not used until it was looked up.

        After MAX_DOUBTS it is lost, and not made again soon: it may be there, and of no use all the same.
        """
        self._doubts += 1
        self.is_doubted = True
        if self._doubts >= MAX_DOUBTS:
            self.lose(now_s)
            self._paused_until_s = now_s + MAX_PAUSE_S

    def lose(self, at_s: float) -> None:
        """The copy has ended, or cannot be used any more; what it earned shapes the next decision."""
        if self.kept is None:
            return
        self._caution = plan.caution_after(
            self._caution, self._prices, uses=self._uses, kept_s=max(0.0, at_s - self._since_s)
        )
        self.kept = None
        self.is_doubted = False
