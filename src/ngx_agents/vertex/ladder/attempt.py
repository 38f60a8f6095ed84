"""One try at an answer, and how its outcome is judged: a 429 is the lane's business alone; a time-out counts against
the other side only when it had the time of a slow answer; our own short deadline says nothing about it."""

from __future__ import annotations

from ngx_agents.clock import Clock
from ngx_agents.errors import ModelError, ModelProtocolError, ModelThrottled, ModelTimeout, ModelUnavailable
from ngx_agents.resilience.breaker import Ticket
from ngx_agents.resilience.recent_quantile import RecentQuantile
from ngx_agents.resilience.retry_budget import RetryBudget
from ngx_agents.vertex.content import ModelReply
from ngx_agents.vertex.governors import Permit
from ngx_agents.vertex.measures import ModelMeasures
from ngx_agents.vertex.quota import QuotaGrant

FIRST_TOKEN_S = (3.0, 20.0)  # least and most that is waited for the first byte of a stream
GAP_S = (2.0, 15.0)  # and from one piece to the next
SLACK = 1.5  # times what 99 of 100 needed lately
SLOW_FIRST_TOKEN_S = 8.0  # twice what a chat may take to begin


class Learnt:
    """What the tries of one way have taught: how long answers take, and whether one more retry is affordable."""

    def __init__(self, model: str, *, budget: RetryBudget, measures: ModelMeasures, clock: Clock) -> None:
        self.model = model
        self.budget = budget
        self.measures = measures
        self.clock = clock
        self.first_token = RecentQuantile(clock=clock)
        self.longest_gap = RecentQuantile(clock=clock)

    @property
    def first_token_limit_s(self) -> float:
        return _limit(self.first_token, FIRST_TOKEN_S)

    @property
    def gap_limit_s(self) -> float:
        return _limit(self.longest_gap, GAP_S)


class Attempt:
    """One try under way: tells breaker, lane, budget and quota what came of it, once."""

    __slots__ = ("_began_s", "_first_s", "_grant", "_last_s", "_learnt", "_longest_gap_s", "_permit", "_ticket")

    def __init__(self, learnt: Learnt, ticket: Ticket, permit: Permit, grant: QuotaGrant | None) -> None:
        self._learnt = learnt
        self._grant = grant
        self._ticket = ticket
        self._permit = permit
        self._began_s = learnt.clock.monotonic_s()
        self._first_s: float | None = None
        self._last_s = 0.0
        self._longest_gap_s = 0.0

    def heard(self) -> None:
        """A piece of a stream arrived."""
        now_s = self._learnt.clock.monotonic_s()
        if self._first_s is None:
            self._first_s = now_s - self._began_s
            self._learnt.first_token.observe(self._first_s)
        elif now_s - self._last_s > self._longest_gap_s:
            self._longest_gap_s = now_s - self._last_s
        self._last_s = now_s

    def answered(self, reply: ModelReply) -> None:
        self._learnt.measures.paid(reply, model=self._learnt.model)
        if self._longest_gap_s:
            self._learnt.longest_gap.observe(self._longest_gap_s)
        usage = reply.usage
        self.succeeded(usage.input_tokens + usage.output_tokens + usage.thought_tokens)

    def succeeded(self, tokens: int) -> None:
        if self._grant is not None:
            self._grant.settle(tokens)
        self._permit.answered()
        self._ticket.succeeded(slow=self._first_s is not None and self._first_s > SLOW_FIRST_TOKEN_S)
        self._learnt.budget.succeeded()

    def failed(self, error: BaseException) -> None:
        if self._grant is not None and isinstance(error, ModelError) and self._first_s is None:
            self._grant.give_back()  # otherwise what was reserved counts as used: nobody says what it was
        if isinstance(error, ModelThrottled):
            self._permit.throttled(error)
            self._ticket.ignored()
        elif self._speaks_against_it(error):
            self._permit.failed()
            self._ticket.failed()
        elif isinstance(error, ModelError):  # refused for what was asked: the other side is well
            self._permit.failed()
            self._ticket.ignored()
        else:
            self._permit.cancelled()
            self._ticket.ignored()

    def _speaks_against_it(self, error: BaseException) -> bool:
        if isinstance(error, ModelTimeout):
            since_s = self._last_s or self._began_s
            limit_s = FIRST_TOKEN_S[0] if self._first_s is None else GAP_S[0]
            return self._learnt.clock.monotonic_s() - since_s >= limit_s
        return isinstance(error, ModelUnavailable | ModelProtocolError)


def _limit(seen: RecentQuantile, bounds_s: tuple[float, float]) -> float:
    usual_s = seen.quantile(0.99)
    if usual_s is None:
        return bounds_s[1]
    return min(max(SLACK * usual_s, bounds_s[0]), bounds_s[1])
