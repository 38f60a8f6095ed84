from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.shared_places import FREE_SHARE, Places

INSTANCES = 4


class Store:
    """What `coordination.commands.Hold` does, and nothing else."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held: dict[int, int] = {}

    def hold(self, member: int, wanted: int, least: int) -> tuple[int, int]:
        others = sum(count for name, count in self.held.items() if name != member)
        self.held[member] = max(least, min(wanted, self.limit - others))
        return self.held[member], others


@given(
    limit=st.integers(min_value=0, max_value=100),
    steps=st.lists(st.tuples(st.integers(0, INSTANCES - 1), st.sampled_from(("take", "take", "free"))), max_size=300),
)
def test_all_together_give_out_the_limit_and_a_sixteenth_for_each_that_never_asked(
    limit: int, steps: list[tuple[int, str]]
) -> None:
    store, instances = Store(limit), [Places() for _ in range(INSTANCES)]
    for number, step in steps:
        places = instances[number]
        if step == "take":
            if not places.fits(limit, is_shared=True):
                places.wanting += 1
                held, others = store.hold(number, places.wanted(limit), places.used)
                places.told(places.asked(), held=held, others=others)
                places.wanting -= 1
            if places.fits(limit, is_shared=True):
                places.used += 1
        elif places.used:
            places.used -= 1
            if places.held and places.is_surplus:
                held, others = store.hold(number, places.used + places.ahead, places.used)
                places.told(places.asked(), held=held, others=others)
        assert sum(each.used for each in instances) <= limit + INSTANCES * (limit // FREE_SHARE)
    if limit < FREE_SHARE:
        assert sum(each.used for each in instances) <= limit


@given(limit=st.integers(min_value=1, max_value=1000))
def test_one_instance_alone_gives_out_all(limit: int) -> None:
    store, places = Store(limit), Places()
    for _ in range(limit):
        if not places.fits(limit, is_shared=True):
            places.wanting += 1
            held, others = store.hold(0, places.wanted(limit), places.used)
            places.told(places.asked(), held=held, others=others)
            places.wanting -= 1
        assert places.fits(limit, is_shared=True)
        places.used += 1
    assert not places.fits(limit, is_shared=True)


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    places = Places()
    first, second = places.asked(), places.asked()
    places.told(second, held=3, others=1)
    places.told(first, held=9, others=0)
    assert (places.held, places.others) == (3, 1)


@pytest.mark.parametrize(("used", "fits"), [(3, True), (4, False)])
def test_where_nobody_can_be_asked_an_instance_keeps_the_limit_by_itself(used: int, fits: bool) -> None:
    places = Places()
    for _ in range(used):
        places.wanting += 1
        places.told_nothing(4)
        places.wanting -= 1
        places.used += 1
    places.wanting += 1
    places.told_nothing(4)
    assert places.fits(4, is_shared=True) is fits
