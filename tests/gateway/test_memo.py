"""What is remembered, and for how long."""

from __future__ import annotations

from ngx_agents.gateway.memo import Memo


class _Time:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_value_is_forgotten_when_its_time_is_over() -> None:
    time = _Time()
    memo: Memo[str] = Memo(10, time)
    memo.put(b"a", "x", 105.0)
    assert memo.get(b"a") == "x"
    time.now_s = 105.0
    assert memo.get(b"a") is None
    assert len(memo) == 0


def test_the_least_recently_used_goes_first_when_it_is_full() -> None:
    memo: Memo[int] = Memo(2, _Time())
    memo.put(b"a", 1, 200.0)
    memo.put(b"b", 2, 200.0)
    memo.get(b"a")
    memo.put(b"c", 3, 200.0)
    assert (memo.get(b"a"), memo.get(b"b"), memo.get(b"c")) == (1, None, 3)
