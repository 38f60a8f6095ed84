"""What keeping a prefix costs and within which bounds it is done."""

from __future__ import annotations

import msgspec


class Prices(msgspec.Struct, frozen=True, kw_only=True):
    """USD for a million tokens: sent, read from a kept prefix, and kept for an hour.

    `implicit_share` is the share of plain input that the provider discounts by itself.
    """

    input_usd: float
    cached_usd: float
    storage_usd_per_hour: float
    implicit_share: float = 0.0

    @property
    def saving_usd(self) -> float:
        """What one use of a kept prefix saves, for a million of its tokens."""
        return (self.input_usd - self.cached_usd) * (1.0 - self.implicit_share)


DEFAULT_PRICES = Prices(input_usd=0.75, cached_usd=0.075, storage_usd_per_hour=1.0)


class ContextSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`prices` and `min_tokens_by_model` are looked up by the model's name; the others hold for all that is not there.

    `adopts` looks for a copy that another instance made before making one. `allow_user_scoped` lets prefixes that
    belong to one user be kept as well.
    """

    is_enabled: bool = True
    prices: dict[str, Prices] = {}
    default_prices: Prices = DEFAULT_PRICES
    min_tokens: int = 4096
    min_tokens_by_model: dict[str, int] = {}
    max_prefixes: int = 256
    max_in_flight: int = 4
    max_creations_per_prefix_hour: int = 4
    max_creations_per_hour: int = 60
    adopts: bool = True
    allow_user_scoped: bool = False
    delete_on_close: bool = False
    call_timeout_s: float = 20.0

    def prices_of(self, model: str) -> Prices:
        return self.prices.get(model, self.default_prices)

    def min_tokens_of(self, model: str) -> int:
        return self.min_tokens_by_model.get(model, self.min_tokens)
