"""How long an answer takes: medians, and how they spread, drawn from the seed."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from ngx_agents.clock import Rng

THRASH = 0.3


class Latency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`jitter` in [0, 1] spreads evenly by that share; `sigma` > 0 makes both times lognormal around their median.

    `seats` above 0: so many streams go at full speed; more share them, and lose up to `THRASH` of all speed.
    """

    ttft_ms: float = 0.0
    chunk_gap_ms: float = 0.0
    jitter: float = 0.0
    sigma: float = 0.0
    chunks: int = 50
    seats: int = 0

    def crowding(self, streams: int) -> float:
        """How much longer everything takes while so many streams are open."""
        if not self.seats or streams <= self.seats:
            return 1.0
        lost = THRASH * min(1.0, (streams - self.seats) / self.seats)
        return streams / (self.seats * (1.0 - lost))

    def ttft_s(self, rng: Rng) -> float:
        return self._spread(self.ttft_ms, rng) / 1000 if self.ttft_ms else 0.0

    def gap_s(self, rng: Rng) -> float:
        return self._spread(self.chunk_gap_ms, rng) / 1000 if self.chunk_gap_ms else 0.0

    def _spread(self, median_ms: float, rng: Rng) -> float:
        if self.sigma:
            return median_ms * math.exp(rng.gauss(0.0, self.sigma))
        return median_ms * rng.uniform(1 - self.jitter, 1 + self.jitter) if self.jitter else median_ms


class Tempo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a control order changes in the latency; None stays."""

    ttft_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    chunk_gap_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    jitter: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    sigma: Annotated[float, msgspec.Meta(ge=0)] | None = None
    chunks: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    seats: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def of(self, latency: Latency) -> Latency:
        given = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        return msgspec.structs.replace(latency, **given)
