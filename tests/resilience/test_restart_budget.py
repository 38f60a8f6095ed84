from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.restart_budget import MAX_RESTARTS, WINDOW_S, RestartBudget


def test_restarts_come_at_growing_intervals_and_end() -> None:
    budget = RestartBudget()
    assert [budget.take(float(n)) for n in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.6, None]


def test_an_old_restart_is_forgotten() -> None:
    budget = RestartBudget()
    for now_s in range(5):
        budget.take(float(now_s))
    assert budget.take(WINDOW_S - 0.001) is None
    assert budget.take(WINDOW_S) is not None


@given(st.lists(st.floats(0, 30), max_size=60))
def test_no_window_holds_more_restarts_than_the_budget(gaps: list[float]) -> None:
    budget, now_s, taken = RestartBudget(), 0.0, []
    for gap in gaps:
        now_s += gap
        if budget.take(now_s) is not None:
            taken.append(now_s)
    for start in taken:
        assert sum(start <= at < start + WINDOW_S for at in taken) <= MAX_RESTARTS
