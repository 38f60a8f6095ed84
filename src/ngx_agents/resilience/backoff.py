"""How long to wait before trying again: exponential with full jitter, so that those who failed together spread out."""

from __future__ import annotations

from ngx_agents.clock import Rng

MAX_DOUBLINGS = 62  # far beyond any cap; keeps the power finite


def next_delay_s(attempt: int, *, base_s: float, cap_s: float = 8.0, rng: Rng) -> float:
    """Seconds in [0, min(cap_s, base_s * 2^attempt)] before retry number `attempt`, counted from 0.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """
    return rng.random() * min(cap_s, base_s * 2.0 ** min(max(attempt, 0), MAX_DOUBLINGS))
