"""Capacity: who may run now, on which traffic, and which 429 the others get.

A pool bounds requests per second, calls at once and tokens per minute for the models and locations it matches. Kinds:
`provisioned` is used first, and alone by `dedicated` calls; `quota` and `shared` bound everything else; `priority`
bounds priority calls, which go on as ordinary ones when it is full. Tokens are charged at admission with an estimate
of the output and corrected when the call ends. All of it is arithmetic between awaits of one loop.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.vertex.emulator.refusal import Refusal, named
from ngx_agents.vertex.emulator.target import Target

OUTPUT_ESTIMATE_TOKENS = 1024
NotNegative = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]
Tier = Literal["", "dedicated", "shared", "priority", "flex"]


class Limits(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """None is no bound."""

    requests_per_s: NotNegative | None = None
    concurrent: Count | None = None
    tokens_per_min: NotNegative | None = None


class Step(Limits, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Limits from `after_s` on, counted from the order; those not given stay."""

    after_s: NotNegative


class PoolRule(Limits, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`model` and `location` may hold `*`. `burst_s` is how much of the rate may come at once."""

    kind: Literal["shared", "provisioned", "priority", "quota"] = "shared"
    model: str = "*"
    location: str = "*"
    burst_s: NotNegative = 0.2
    steps: list[Step] = []


class _Bucket:
    """A token bucket; `rate_per_s` None never runs dry. May be overdrawn by a correction."""

    def __init__(self) -> None:
        self.level = 0.0
        self._at_s = 0.0
        self._size = -1.0

    def has(self, amount: float, *, rate_per_s: float, size: float, now_s: float) -> bool:
        if self._size != size:
            self.level = size if self._size < 0 else min(self.level, size)
            self._size = size
        self.level = min(size, self.level + (now_s - self._at_s) * rate_per_s) if self._at_s else self.level
        self._at_s = now_s
        return self.level >= min(amount, size)


class Pool:
    """One pool at work."""

    def __init__(self, rule: PoolRule, started_s: float) -> None:
        self.rule = rule
        self.held = 0
        self.admitted = 0
        self.refused = 0
        self._started_s = started_s
        self._steps = sorted(rule.steps, key=lambda step: step.after_s)
        self._limits = Limits(
            requests_per_s=rule.requests_per_s, concurrent=rule.concurrent, tokens_per_min=rule.tokens_per_min
        )
        self._requests = _Bucket()
        self._tokens = _Bucket()

    def limits(self, now_s: float) -> Limits:
        """The limits in force."""
        while self._steps and now_s - self._started_s >= self._steps[0].after_s:
            step = self._steps.pop(0)
            for name in ("requests_per_s", "concurrent", "tokens_per_min"):
                if (value := getattr(step, name)) is not None:
                    setattr(self._limits, name, value)
        return self._limits

    def matches(self, target: Target) -> bool:
        return fnmatchcase(target.model, self.rule.model) and fnmatchcase(target.location, self.rule.location)

    def lacks(self, tokens: int, now_s: float) -> str | None:
        """The metric that is used up; None when the call has room."""
        limits = self.limits(now_s)
        if limits.concurrent is not None and self.held >= limits.concurrent:
            return "concurrent_requests_per_base_model"
        rate = limits.requests_per_s
        if rate is not None:
            size = max(1.0, rate * self.rule.burst_s) if rate else 0.0
            if not rate or not self._requests.has(1.0, rate_per_s=rate, size=size, now_s=now_s):
                return "online_prediction_requests_per_base_model"
        bound = limits.tokens_per_min
        if bound is not None and not self._tokens.has(tokens, rate_per_s=bound / 60, size=bound, now_s=now_s):
            return "generate_content_input_tokens_per_minute_per_base_model"
        return None

    def take(self, tokens: int) -> None:
        self.held += 1
        self.admitted += 1
        self._requests.level -= 1.0
        self._tokens.level -= tokens

    def give_back(self, surplus_tokens: int) -> None:
        self.held -= 1
        self._tokens.level += surplus_tokens


class Grant:
    """A call that may run. `traffic` is what usageMetadata calls it. `release` exactly once: a pool counts it."""

    __slots__ = ("_charged", "_pools", "traffic")

    def __init__(self, traffic: str, pools: list[Pool], charged: int) -> None:
        self.traffic = traffic
        self._pools = pools
        self._charged = charged

    def release(self, used_tokens: int) -> None:
        for pool in self._pools:
            pool.give_back(self._charged - used_tokens)


_TRAFFIC = {"priority": "ON_DEMAND_PRIORITY", "flex": "ON_DEMAND_FLEX"}
_FREE: dict[Tier, Grant] = {tier: Grant(_TRAFFIC.get(tier, "ON_DEMAND"), [], 0) for tier in ("", "shared", "flex")}


class Capacity:
    """All pools. Without any, everything is admitted but `dedicated` calls: nothing is bought."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.pools: list[Pool] = []

    def load(self, rules: list[PoolRule]) -> None:
        now_s = self._clock.monotonic_s()
        self.pools = [Pool(rule, now_s) for rule in rules]

    def admit(self, target: Target, tier: Tier, prompt_tokens: int, output_bound: int | None) -> Grant:
        """Raises Refusal: 429, or 400 for priority outside `global`."""
        if not self.pools and tier in _FREE:
            return _FREE[tier]
        if tier == "priority" and target.location != "global":
            raise Refusal(400, f"Priority pay-as-you-go is not supported in location {target.location}.")
        tokens = prompt_tokens + (OUTPUT_ESTIMATE_TOKENS if output_bound is None else output_bound)
        pools = [pool for pool in self.pools if pool.matches(target)] if self.pools else []
        now_s = self._clock.monotonic_s() if pools else 0.0
        if tier in ("", "dedicated"):
            bought = [pool for pool in pools if pool.rule.kind == "provisioned"]
            if bought and self._lacking(bought, tokens, now_s) is None:
                return _taken("PROVISIONED_THROUGHPUT", bought, tokens)
            if tier == "dedicated":
                raise named("provisioned_exhausted")
        return self._on_demand(target, tier, pools, tokens, now_s)

    def _on_demand(self, target: Target, tier: Tier, pools: list[Pool], tokens: int, now_s: float) -> Grant:
        traffic = _TRAFFIC.get(tier, "ON_DEMAND")
        if tier == "priority":
            preferred = [pool for pool in pools if pool.rule.kind == "priority"]
            if preferred and self._lacking(preferred, tokens, now_s) is None:
                return _taken(traffic, preferred, tokens)
            traffic = "ON_DEMAND" if preferred else traffic
        bounding = [pool for pool in pools if pool.rule.kind in ("quota", "shared")]
        lacking = self._lacking(bounding, tokens, now_s)
        if lacking is None:
            return _taken(traffic, bounding, tokens)
        pool, metric = lacking
        name = "quota_exceeded" if pool.rule.kind == "quota" else "shared_exhausted"
        raise named(name, metric=metric, **target.facts())

    def _lacking(self, pools: list[Pool], tokens: int, now_s: float) -> tuple[Pool, str] | None:
        for pool in pools:
            if (metric := pool.lacks(tokens, now_s)) is not None:
                pool.refused += 1
                return pool, metric
        return None


def _taken(traffic: str, pools: list[Pool], tokens: int) -> Grant:
    for pool in pools:
        pool.take(tokens)
    return Grant(traffic, pools, tokens)
