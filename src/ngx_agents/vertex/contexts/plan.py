"""When a prefix is worth keeping: pure arithmetic on arrivals, prices and time. The size of a prefix cancels out.

Making a copy costs the prefix once at full price, keeping it costs by the hour, each use saves. The savings that not
having a copy cost so far, less the storage it would have cost, are summed up and never fall below zero (a CUSUM): a
copy is made when they reach `caution` times its price, as one buys skis after having paid for them in rent; or when
a long known rate of arrivals pays for it within PAYBACK_HOURS. A copy that did not earn its price doubles the caution
of its prefix, one that did halves it. A copy is kept for TTL_PRICES times as long as its price buys, renewed by use.
"""

from __future__ import annotations

import math

import msgspec

from ngx_agents.vertex.contexts.settings import Prices

HOUR_S = 3600.0
MEMORY_HOURS = 2.0  # arrivals older than this weigh less than a third
PRIOR_HOURS = 0.5  # of silence, before the first arrival: a short burst is no rate yet
KNOWN_ARRIVALS = 6.0
PAYBACK_HOURS = 2.0
FIRST_CAUTION, MIN_CAUTION, MAX_CAUTION = 2.0, 1.0, 8.0
TTL_PRICES = 2.0
TTL_S = (300.0, 7200.0)


class Demand(msgspec.Struct, frozen=True):
    """Arrivals of one prefix. `weight` counts them, older ones less; `regret_usd` is for a million tokens."""

    began_s: float
    last_s: float
    weight: float = 0.0
    regret_usd: float = 0.0

    @property
    def rate_per_hour(self) -> float:
        age_hours = (self.last_s - self.began_s) / HOUR_S
        return self.weight / (MEMORY_HOURS * (1.0 - math.exp(-age_hours / MEMORY_HOURS)) + PRIOR_HOURS)


def seen(demand: Demand | None, prices: Prices, *, now_s: float, is_kept: bool) -> Demand:
    """The demand after one more arrival, which found a copy or did not."""
    before = demand or Demand(now_s, now_s)
    hours = (now_s - before.last_s) / HOUR_S
    regret_usd = 0.0
    if not is_kept:
        regret_usd = max(0.0, before.regret_usd - hours * prices.storage_usd_per_hour) + prices.saving_usd
    return Demand(before.began_s, now_s, before.weight * math.exp(-hours / MEMORY_HOURS) + 1.0, regret_usd)


def is_worth_making(demand: Demand, prices: Prices, *, caution: float) -> bool:
    if prices.saving_usd <= 0:
        return False
    if demand.regret_usd >= caution * prices.input_usd:
        return True
    return demand.weight >= KNOWN_ARRIVALS and _gain_per_hour(demand, prices) >= prices.input_usd / PAYBACK_HOURS


def is_worth_renewing(demand: Demand, prices: Prices) -> bool:
    """Whether its uses pay for its storage."""
    return _gain_per_hour(demand, prices) > 0


def ttl_s(prices: Prices) -> int:
    """How long an unused copy is kept: about as long as making it again would cost."""
    if prices.storage_usd_per_hour <= 0:
        return int(TTL_S[1])
    return int(min(max(TTL_PRICES * prices.input_usd / prices.storage_usd_per_hour * HOUR_S, TTL_S[0]), TTL_S[1]))


def caution_after(caution: float, prices: Prices, *, uses: int, kept_s: float) -> float:
    """The caution for the next copy, from what the last one earned."""
    gain_usd = uses * prices.saving_usd - kept_s / HOUR_S * prices.storage_usd_per_hour - prices.input_usd
    return max(MIN_CAUTION, caution / 2) if gain_usd > 0 else min(MAX_CAUTION, caution * 2)


def _gain_per_hour(demand: Demand, prices: Prices) -> float:
    return demand.rate_per_hour * prices.saving_usd - prices.storage_usd_per_hour
