"""A day of arrivals: what the autopilot pays beside what never and always keeping the prefix would have cost."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from random import Random

import pytest

from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.settings import ContextSettings, Prices
from tests.resilience.hand_clock import HandClock
from tests.vertex.contexts.billed_provider import BilledProvider
from tests.vertex.contexts.requests import TARGET, shared_request

HOURS = 24
FLASH = Prices(input_usd=0.75, cached_usd=0.075, storage_usd_per_hour=1.0)
PRO = Prices(input_usd=2.0, cached_usd=0.2, storage_usd_per_hour=4.5)
Rate = Callable[[float], float]


def day_and_night(peak: float) -> Rate:
    """Arrivals an hour: a bow from six to ten in the evening, a hundredth of its height at night."""
    return lambda hour: max(peak / 100, peak * math.sin(math.pi * (hour - 6) / 16) if 6 <= hour <= 22 else 0.0)


def steady(rate: float) -> Rate:
    return lambda hour: rate


def office(hour: float) -> float:
    return 60.0 if 12 <= hour < 14 else 2.0 if 8 <= hour < 22 else 0.2


def one_batch(hour: float) -> float:
    return 1200.0 if 10 <= hour < 10.2 else 0.0


def arrivals(rate: Rate, peak: float, seed: int) -> list[float]:
    """Hours, a Poisson process thinned."""
    random = Random(seed)
    times: list[float] = []
    hour = random.expovariate(peak)
    while hour < HOURS:
        if random.random() < rate(hour) / peak:
            times.append(hour)
        hour += random.expovariate(peak)
    return times


async def spent(times: list[float], prices: Prices) -> tuple[float, BilledProvider]:
    """The day's cost for a prefix of a million tokens, everything included."""
    clock = HandClock(0.0)
    provider = BilledProvider(clock, prices)
    request = shared_request()
    async with Contexts(ContextSettings(default_prices=prices), provider, clock=clock) as contexts:
        prefix = contexts.prefix_of(request)
        for hour in times:
            clock.at_s = hour * 3600
            provider.use(contexts.name_for(prefix, request, TARGET))
            for _ in range(4):
                await asyncio.sleep(0)
    return provider.bill_usd + provider.storage_usd(HOURS * 3600), provider


def best_static(times: list[float], prices: Prices) -> float:
    never = len(times) * prices.input_usd
    always = prices.input_usd + HOURS * prices.storage_usd_per_hour + len(times) * prices.cached_usd
    return min(never, always)


@pytest.mark.parametrize(
    ("rate", "peak", "prices"),
    [
        (day_and_night(10), 10, FLASH),
        (day_and_night(30), 30, FLASH),
        (day_and_night(100), 100, FLASH),
        (day_and_night(300), 300, FLASH),
        (day_and_night(30), 30, PRO),
        (day_and_night(300), 300, PRO),
        (steady(0.1), 1, FLASH),
        (steady(10), 10, FLASH),
        (steady(100), 100, FLASH),
        (steady(100), 100, PRO),
        (office, 60, FLASH),
        (one_batch, 1200, FLASH),
    ],
    ids=[
        "day10",
        "day30",
        "day100",
        "day300",
        "pro30",
        "pro300",
        "rare",
        "steady10",
        "steady100",
        "pro100",
        "office",
        "batch",
    ],
)
async def test_day_costs_at_most_a_twentieth_more_than_the_best_fixed_rule(
    rate: Rate, peak: float, prices: Prices
) -> None:
    ours = best = 0.0
    for seed in range(5):
        times = arrivals(rate, peak, seed)
        cost, _ = await spent(times, prices)
        ours += cost
        best += best_static(times, prices)
    assert ours <= best * 1.05


@pytest.mark.parametrize("rate", [1.0, 1.5, 2.0, 3.0])
async def test_rates_at_which_either_rule_costs_about_the_same_cost_at_most_a_quarter_more(rate: float) -> None:
    ours = best = 0.0
    for seed in range(20):
        times = arrivals(steady(rate), rate, seed)
        ours += (await spent(times, FLASH))[0]
        best += best_static(times, FLASH)
    assert ours <= best * 1.25


async def test_calls_beside_the_requests_are_few() -> None:
    times = arrivals(steady(300), 300, 1)
    _, provider = await spent(times, FLASH)
    assert len(times) > 7000
    assert len(provider.calls) < 50
