from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.vertex.contexts import plan
from ngx_agents.vertex.contexts.attempts import Attempts
from ngx_agents.vertex.contexts.settings import Prices

FLASH = Prices(input_usd=0.75, cached_usd=0.075, storage_usd_per_hour=1.0)
HOUR_S = plan.HOUR_S


def after(gaps_s: list[float], prices: Prices = FLASH, *, is_kept: bool = False) -> plan.Demand:
    now_s, demand = 0.0, plan.seen(None, prices, now_s=0.0, is_kept=is_kept)
    for gap_s in gaps_s:
        now_s += gap_s
        demand = plan.seen(demand, prices, now_s=now_s, is_kept=is_kept)
    return demand


def test_rate_comes_close_to_that_of_even_arrivals() -> None:
    assert after([36.0] * 1000).rate_per_hour == pytest.approx(80, rel=0.02)  # 100, less the prior's half hour
    assert after([36.0] * 1000 + [8 * HOUR_S]).rate_per_hour < 2


def test_regret_is_rent_paid_less_storage_spared_and_never_below_zero() -> None:
    assert after([]).regret_usd == pytest.approx(0.675)
    assert after([900.0]).regret_usd == pytest.approx(0.675 - 0.25 + 0.675)
    assert after([900.0, 10 * HOUR_S]).regret_usd == pytest.approx(0.675)
    assert after([1.0] * 10, is_kept=True).regret_usd == 0


@pytest.mark.parametrize(("caution", "arrivals"), [(1.0, 2), (2.0, 3), (4.0, 5), (8.0, 7)])
def test_more_caution_wants_more_arrivals_until_their_rate_is_known(caution: float, arrivals: int) -> None:
    burst = [[1.0] * (count - 1) for count in (arrivals - 1, arrivals)]
    assert [plan.is_worth_making(after(gaps), FLASH, caution=caution) for gaps in burst] == [False, True]


def test_long_known_rate_is_enough_without_regret() -> None:
    demand = after([120.0] * 60, is_kept=True)
    assert demand.regret_usd == 0
    assert plan.is_worth_making(demand, FLASH, caution=8.0)
    assert plan.is_worth_renewing(demand, FLASH)


def test_rate_below_break_even_is_neither_made_nor_renewed() -> None:
    demand = after([HOUR_S] * 30)
    assert not plan.is_worth_making(demand, FLASH, caution=2.0)
    assert not plan.is_worth_renewing(demand, FLASH)


def test_nothing_is_made_where_nothing_is_saved() -> None:
    for prices in (
        Prices(input_usd=1.0, cached_usd=1.0, storage_usd_per_hour=0.0),
        Prices(input_usd=1.0, cached_usd=0.1, storage_usd_per_hour=0.0, implicit_share=1.0),
    ):
        assert not plan.is_worth_making(after([1.0] * 100, prices), prices, caution=1.0)


def test_what_the_provider_discounts_by_itself_raises_the_bar() -> None:
    mostly = Prices(input_usd=0.75, cached_usd=0.075, storage_usd_per_hour=1.0, implicit_share=0.9)
    demand = after([720.0] * 20)  # five an hour
    assert plan.is_worth_making(demand, FLASH, caution=2.0)
    assert not plan.is_worth_making(after([720.0] * 20, mostly), mostly, caution=2.0)


@pytest.mark.parametrize(
    ("prices", "seconds"),
    [
        (FLASH, 5400),
        (Prices(input_usd=2.0, cached_usd=0.2, storage_usd_per_hour=4.5), 3200),
        (Prices(input_usd=2.0, cached_usd=0.2, storage_usd_per_hour=0.0), 7200),
        (Prices(input_usd=0.01, cached_usd=0.0, storage_usd_per_hour=9.0), 300),
    ],
)
def test_copy_lives_as_long_as_its_price_buys_within_bounds(prices: Prices, seconds: int) -> None:
    assert plan.ttl_s(prices) == seconds


def test_caution_learns_from_what_a_copy_earned() -> None:
    assert plan.caution_after(2.0, FLASH, uses=100, kept_s=HOUR_S) == 1.0
    assert plan.caution_after(2.0, FLASH, uses=1, kept_s=HOUR_S) == 4.0
    assert plan.caution_after(8.0, FLASH, uses=0, kept_s=HOUR_S) == 8.0
    assert plan.caution_after(1.0, FLASH, uses=100, kept_s=HOUR_S) == 1.0


@given(gaps_s=st.lists(st.floats(0, 1e7), max_size=50))
def test_arithmetic_stays_finite_and_positive(gaps_s: list[float]) -> None:
    demand = after(gaps_s)
    assert 0 < demand.rate_per_hour < 1e4
    assert 0 < demand.regret_usd <= 0.675 * (len(gaps_s) + 1) + 1e-9


def test_attempts_are_bounded_in_any_hour() -> None:
    attempts = Attempts(2)
    for at_s in (0.0, 10.0):
        assert attempts.may_one(at_s)
        attempts.note(at_s)
    assert not attempts.may_one(3599.0)
    assert attempts.may_one(3600.0)
    attempts.note(3600.0)
    assert not attempts.may_one(3605.0)
    assert attempts.may_one(3610.0)
