"""What a call costs: a table of prices per million tokens, and nothing guessed beyond it.

The defaults are third-party list prices of pay-as-you-go text in USD; who pays others gives a table. A model is
found by its exact name. Cached input without a price of its own counts as full input, which is never too little.
Thoughts are paid like output.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta

import msgspec

from ngx_agents.clock import Clock
from ngx_agents.vertex.content import Usage

AS_OF = date(2026, 11, 24)
MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """USD per million tokens. `until` is the last day it holds, in UTC; None means until further notice."""

    input_usd: float
    output_usd: float
    cached_usd: float | None = None
    until: date | None = None


DEFAULT_PRICES: Mapping[str, tuple[Price, ...]] = {
    "gemini-3.8-flash": (Price(input_usd=0.75, cached_usd=0.075, output_usd=3.75),),
    "gemini-3.5-flash-lite": (Price(input_usd=0.30, output_usd=2.50),),
    "gemini-3.1-flash-lite": (Price(input_usd=0.25, output_usd=1.50),),
    "gemini-3.1-pro-preview": (Price(input_usd=2.0, output_usd=12.0),),
    "gemini-4-argon": (
        Price(input_usd=2.0, output_usd=10.0, until=date(2026, 11, 30)),
        Price(input_usd=4.0, output_usd=20.0),
    ),
}


class _Rate(msgspec.Struct, frozen=True):
    until_s: float
    input_usd: float
    cached_usd: float
    output_usd: float


class Prices:
    """`table` maps a model to its prices, those that end first coming first."""

    def __init__(self, clock: Clock, table: Mapping[str, tuple[Price, ...]] = DEFAULT_PRICES) -> None:
        self._clock = clock
        self._rates = {model: tuple(_rate(price) for price in prices) for model, prices in table.items()}

    def cost_usd(self, model: str, usage: Usage) -> float | None:
        """Of one call, at today's price; None for a model without one. `model` may be a path that ends in its name."""
        rates = self._rates.get(model) or self._rates.get(model.rpartition("/models/")[2])
        if rates is None:
            return None
        rate = rates[0]
        if rate.until_s != float("inf"):
            now_s = self._clock.now_s()
            found = next((one for one in rates if now_s < one.until_s), None)
            if found is None:
                return None
            rate = found
        cached = min(usage.cached_tokens, usage.input_tokens)
        return (
            (usage.input_tokens - cached) * rate.input_usd
            + cached * rate.cached_usd
            + (usage.output_tokens + usage.thought_tokens) * rate.output_usd
        )


def _rate(price: Price) -> _Rate:
    cached_usd = price.input_usd if price.cached_usd is None else price.cached_usd
    return _Rate(_end_of(price.until), price.input_usd / MILLION, cached_usd / MILLION, price.output_usd / MILLION)


def _end_of(day: date | None) -> float:
    if day is None:
        return float("inf")
    return datetime.combine(day + timedelta(days=1), time(), UTC).timestamp()
