from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.state.ids import Ids, derived, is_id, shard_in, shard_of


class _At:
    def __init__(self, now_s: float) -> None:
        self._now_s = now_s

    def now_s(self) -> float:
        return self._now_s

    def monotonic_s(self) -> float:
        return self._now_s

    async def sleep(self, delay_s: float) -> None:
        self._now_s += delay_s


@given(st.integers(0, 255), st.integers(0, 2**80 - 1))
def test_an_id_carries_kind_and_shard(shard: int, bits: int) -> None:
    made = Ids(_At(1.7e9), lambda _: bits).new("t", shard)
    assert is_id("t", made)
    assert not is_id("c", made)
    assert shard_in(made) == shard


@given(st.integers(1, 2**33), st.integers(1, 10**6), st.integers(0, 2**80 - 1), st.integers(0, 2**80 - 1))
def test_later_ids_sort_after_earlier_ones(second: int, later_ms: int, first_bits: int, second_bits: int) -> None:
    before = Ids(_At(second), lambda _: first_bits).new("m", 7)
    after = Ids(_At(second + later_ms / 500), lambda _: second_bits).new("m", 7)
    assert before < after


@given(st.text())
def test_what_is_no_id_is_told_apart(text: str) -> None:
    assert not is_id("t", text)


@given(st.text())
def test_a_user_is_always_in_the_same_of_256_shards(user: str) -> None:
    assert 0 <= shard_of(user) == shard_of(user) < 256


def test_a_derived_id_is_the_same_for_the_same_seed_only() -> None:
    assert derived("l", 3, "t/a") == derived("l", 3, "t/a")
    assert derived("l", 3, "t/a") != derived("l", 3, "t/b")
    assert is_id("l", derived("l", 3, "t/a"))
