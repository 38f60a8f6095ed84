from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.state.model import Owner
from ngx_agents.state.replicas_floors import Floors

OWNERS = [Owner("acme", name) for name in ("ana", "ben", "eva", "leo", "mia")]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.sampled_from(OWNERS)),
        st.tuples(st.just("see"), st.sampled_from(OWNERS)),
        st.tuples(st.just("ask"), st.none()),
        st.tuples(st.just("stamp"), st.none()),
    ),
    max_size=60,
)


@given(STEPS, st.integers(1, 5))
def test_a_floor_is_never_below_what_was_written_or_seen(steps: list[tuple[str, Owner | None]], bound: int) -> None:
    floors, asked = Floors(max_owners=bound), None
    truth = dict.fromkeys(OWNERS, 0)
    before = dict.fromkeys(OWNERS, 0)
    for place, (what, owner) in enumerate(steps, 1):
        if what == "write" and owner is not None:
            floors.wrote(owner)
            truth[owner] = place
        elif what == "see" and owner is not None:
            floors.saw(owner, place)
            truth[owner] = max(truth[owner], place)
        elif what == "ask":
            asked = (floors.mark(), place)
        elif asked is not None:
            floors.stamp(*asked)
        for one in OWNERS:
            known = floors.of(one)
            assert known is None or known >= truth[one]
            assert known is None or known >= before[one]
            before[one] = before[one] if known is None else known


def test_what_is_pending_is_known_after_a_later_position_and_not_after_an_earlier_one() -> None:
    floors = Floors()
    mark = floors.mark()
    floors.wrote(OWNERS[0])
    floors.stamp(mark, 10)
    assert floors.of(OWNERS[0]) is None
    floors.stamp(floors.mark(), 12)
    assert (floors.of(OWNERS[0]), floors.of(OWNERS[1]), floors.has_pending) == (12, 0, False)


def test_more_owners_than_it_keeps_cost_only_sharpness() -> None:
    floors = Floors(max_owners=3)
    for number in range(1000):
        owner = Owner("acme", str(number))
        floors.wrote(owner)
        if number % 7 == 0:
            floors.stamp(floors.mark(), number)
    floors.stamp(floors.mark(), 1000)
    assert (floors.of(Owner("acme", "3")), floors.of(Owner("acme", "999"))) == (1000, 1000)
    assert len(floors._known) <= 3


def test_what_anybody_may_have_got_counts_for_all_until_a_later_position_is_known() -> None:
    floors, ana, ben = Floors(), Owner("acme", "ana"), Owner("acme", "ben")
    floors.saw(ana, 5)
    floors.wrote_all()
    mark = floors.mark()
    assert (floors.of(ana), floors.of(ben)) == (None, None)
    floors.stamp(mark, 9)
    assert (floors.of(ana), floors.of(ben)) == (9, 9)
