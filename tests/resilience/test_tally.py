"""A tally holds what happened within its window, to a tenth of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.tally import Tally


@given(events=st.lists(st.tuples(st.integers(0, 2), st.floats(0.0, 15.0)), max_size=100), pause_s=st.floats(0.0, 40.0))
def test_it_holds_the_bucket_being_filled_and_the_nine_before(events: list[tuple[int, float]], pause_s: float) -> None:
    tally, at_s, seen = Tally(30.0, kinds=3), 5.0, []
    for kind, step_s in events:
        at_s += step_s
        tally.add(kind, at_s)
        seen.append((kind, at_s))
    tally.turn_to(at_s + pause_s)
    oldest = int((at_s + pause_s) / 3.0) - 9
    inside = [kind for kind, when_s in seen if int(when_s / 3.0) >= oldest]
    assert tally.sums == [inside.count(kind) for kind in range(3)]
