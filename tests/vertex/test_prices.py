from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.clock import SystemClock
from ngx_agents.vertex.content import Usage
from ngx_agents.vertex.prices import DEFAULT_PRICES, Price, Prices

MILLION = 1_000_000


class DatedClock(SystemClock):
    def __init__(self, *when: int) -> None:
        self._at_s = datetime(*when, tzinfo=UTC).timestamp()

    def now_s(self) -> float:  # type: ignore[override]
        return self._at_s


NOVEMBER = Prices(DatedClock(2026, 11, 24))


def test_a_million_of_each_kind_costs_what_the_list_says() -> None:
    assert NOVEMBER.cost_usd("gemini-3.8-flash", Usage(input_tokens=MILLION)) == pytest.approx(0.75)
    assert NOVEMBER.cost_usd("gemini-3.8-flash", Usage(output_tokens=MILLION)) == pytest.approx(3.75)
    assert NOVEMBER.cost_usd("gemini-3.8-flash", Usage(thought_tokens=MILLION)) == pytest.approx(3.75)
    cached = Usage(input_tokens=MILLION, cached_tokens=MILLION)
    assert NOVEMBER.cost_usd("gemini-3.8-flash", cached) == pytest.approx(0.075)


def test_a_call_is_the_sum_of_its_parts() -> None:
    usage = Usage(input_tokens=1000, cached_tokens=400, output_tokens=200, thought_tokens=50)
    expected = (600 * 0.75 + 400 * 0.075 + 250 * 3.75) / MILLION
    assert NOVEMBER.cost_usd("gemini-3.8-flash", usage) == pytest.approx(expected)


def test_without_a_price_for_cached_input_it_costs_as_input() -> None:
    cached = Usage(input_tokens=MILLION, cached_tokens=MILLION)
    assert NOVEMBER.cost_usd("gemini-3.1-pro-preview", cached) == pytest.approx(2.0)


@pytest.mark.parametrize("model", ["gemini-3.8-flash-cyber", "gemini-3.8", "", "endpoints/123", "gemini-3.7-flash"])
def test_a_model_without_a_price_has_no_cost_rather_than_a_guessed_one(model: str) -> None:
    assert NOVEMBER.cost_usd(model, Usage(input_tokens=MILLION)) is None


def test_a_model_named_by_its_path_is_the_same_model() -> None:
    path = "publishers/google/models/gemini-3.8-flash"
    assert NOVEMBER.cost_usd(path, Usage(input_tokens=MILLION)) == pytest.approx(0.75)


def test_a_price_holds_through_its_last_day_and_the_next_one_from_midnight() -> None:
    usage = Usage(input_tokens=MILLION, output_tokens=MILLION)
    assert Prices(DatedClock(2026, 11, 30, 23, 59, 59)).cost_usd("gemini-4-argon", usage) == pytest.approx(12.0)
    assert Prices(DatedClock(2026, 12, 1)).cost_usd("gemini-4-argon", usage) == pytest.approx(24.0)


def test_after_the_last_price_there_is_none() -> None:
    table = {"m": (Price(input_usd=1, output_usd=1, until=date(2026, 1, 1)),)}
    assert Prices(DatedClock(2026, 1, 2), table).cost_usd("m", Usage(input_tokens=1)) is None


tokens = st.integers(0, 10**9)


@given(st.sampled_from(sorted(DEFAULT_PRICES)), tokens, tokens, tokens, tokens)
def test_no_call_earns_money_and_cached_input_never_costs_more(
    model: str, sent: int, said: int, thought: int, cached: int
) -> None:
    usage = Usage(input_tokens=sent, output_tokens=said, thought_tokens=thought)
    full = NOVEMBER.cost_usd(model, usage)
    partly = NOVEMBER.cost_usd(
        model, Usage(input_tokens=sent, output_tokens=said, thought_tokens=thought, cached_tokens=cached)
    )
    assert full is not None
    assert partly is not None
    assert 0 <= partly <= full * (1 + 1e-9)
