"""Back-off stays within its bounds, uses all of them, and survives any attempt number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.clock import Rng
from ngx_agents.resilience.backoff import next_delay_s


@given(
    attempt=st.integers(0, 10_000),
    base_s=st.floats(0.0, 100.0),
    cap_s=st.floats(0.0, 100.0),
    seed=st.integers(0, 2**32),
)
def test_no_delay_is_negative_or_above_the_cap_or_the_doubled_base(
    attempt: int, base_s: float, cap_s: float, seed: int
) -> None:
    delay_s = next_delay_s(attempt, base_s=base_s, cap_s=cap_s, rng=Rng(seed))
    assert 0.0 <= delay_s <= min(cap_s, base_s * 2.0 ** min(attempt, 100))


@given(attempt=st.integers(0, 6), seed=st.integers(0, 2**32))
def test_the_jitter_is_full(attempt: int, seed: int) -> None:
    rng = Rng(seed)
    ceiling_s = min(8.0, 0.25 * 2.0**attempt)
    delays_s = sorted(next_delay_s(attempt, base_s=0.25, rng=rng) for _ in range(400))
    assert delays_s[20] < 0.15 * ceiling_s
    assert 0.35 * ceiling_s < delays_s[200] < 0.65 * ceiling_s
    assert delays_s[380] > 0.85 * ceiling_s


def test_the_same_seed_gives_the_same_delays() -> None:
    one, other = Rng(7), Rng(7)
    assert [next_delay_s(n, base_s=1.0, rng=one) for n in range(9)] == [
        next_delay_s(n, base_s=1.0, rng=other) for n in range(9)
    ]
