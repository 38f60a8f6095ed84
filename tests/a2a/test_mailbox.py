"""Properties of the mailbox, under any order of puts, takes, removals and passing time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.a2a.mailbox import CLASS_WAIT_S, STANDING_S, STANDING_WAIT_S, Mailbox
from ngx_agents.resilience.fairness import Fairness
from tests.resilience.hand_clock import HandClock

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 3)),
        st.tuples(st.just("take"), st.just(0)),
        st.tuples(st.just("remove"), st.integers(0, 200)),
        st.tuples(st.just("wait"), st.integers(0, 3000)),
        st.tuples(st.just("expire"), st.just(0)),
    ),
    max_size=150,
)


@given(STEPS, st.integers(1, 8))
def test_everything_put_in_leaves_exactly_once_and_the_cap_is_exact(steps, capacity):
    box, now_s, classes, left = Mailbox(capacity, max_wait_s=5.0), 0.0, [], []
    for what, value in steps:
        inside = len(classes) - len(left)
        assert len(box) == inside <= capacity
        if what == "put":
            entry = len(classes)
            classes.append(value)
            gone = box.put(entry, value, now_s)
            assert (gone is None) == (inside < capacity)
            left += [] if gone is None else [gone]
        elif what == "take":
            taken = box.take(now_s)
            assert (taken is None) == (inside == 0)
            left += [] if taken is None else [taken]
        elif what == "remove" and value < len(classes):
            was_in = value not in left
            assert box.remove(value, classes[value]) == was_in
            left += [value] if was_in else []
        elif what == "wait":
            now_s += value / 1000
        elif what == "expire":
            left += box.expired(now_s)
        assert len(set(left)) == len(left)
    while (taken := box.take(now_s)) is not None:
        left.append(taken)
    assert sorted(left) == list(range(len(classes)))


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 10))
def test_a_full_mailbox_gives_up_only_what_is_less_urgent_and_then_the_newest_of_that(classes, capacity):
    box = Mailbox(capacity, max_wait_s=5.0)
    inside = []
    for entry, turn_class in enumerate(classes):
        gone = box.put(entry, turn_class, float(entry))
        if len(inside) < capacity:
            assert gone is None
            inside.append(entry)
            continue
        lowest = max(classes[one] for one in inside)
        if lowest > turn_class:
            assert gone == max(one for one in inside if classes[one] == lowest)
            inside.remove(gone)
            inside.append(entry)
        else:
            assert gone == entry


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200)), max_size=40))
def test_what_leaves_is_ordered_by_class_and_age(arrivals):
    box, now_s, keys = Mailbox(100, max_wait_s=1e9), 0.0, []
    for turn_class, gap_s in arrivals:
        now_s += gap_s
        box.put(len(keys), turn_class, now_s)
        keys.append(now_s + CLASS_WAIT_S * turn_class)
    taken = [box.take(now_s) for _ in keys]
    assert [keys[one] for one in taken] == sorted(keys)


def test_nobody_starves_under_a_stream_of_more_urgent_ones():
    box = Mailbox(1000, max_wait_s=1e9)
    box.put("batch", 3, 0.0)
    now_s = 0.0
    for number in range(1000):
        now_s += 0.2
        box.put(number, 0, now_s)
        if box.take(now_s) == "batch":
            break
    assert now_s == pytest.approx(3 * CLASS_WAIT_S, abs=0.5)


def test_a_late_critical_one_overtakes_five_hundred():
    box = Mailbox(1000, max_wait_s=5.0)
    for number in range(500):
        box.put(number, 1, number / 1000)
    box.put("critical", 0, 1.0)
    assert box.take(1.0) == "critical"
    assert box.take(1.0) == 0


def test_the_wait_is_shortened_under_standing_load_and_only_then():
    box = Mailbox(10, max_wait_s=5.0)
    assert box.next_expiry_s(0.0) is None
    box.put("first", 1, 0.0)
    box.put("second", 1, 4.8)
    assert box.next_expiry_s(4.8) == 5.0
    assert box.expired(4.99) == []
    assert box.expired(5.0) == ["first"]
    assert box.max_wait_s(5.0) == STANDING_WAIT_S
    assert box.next_expiry_s(5.0) == pytest.approx(5.3)
    assert box.expired(5.31) == ["second"]
    box.put("third", 1, 6.0)
    assert box.max_wait_s(6.0 + STANDING_S - 0.01) == 5.0


@given(st.floats(0.01, 100), st.lists(st.floats(0, 20), max_size=20))
def test_no_wait_is_ever_lengthened(max_wait_s, gaps):
    box, now_s = Mailbox(10, max_wait_s=max_wait_s), 0.0
    for number, gap_s in enumerate(gaps):
        now_s += gap_s
        box.put(number, 1, now_s)
        assert box.max_wait_s(now_s) <= max_wait_s


def test_inside_a_class_tenants_take_turns_and_work_of_nobody_is_one_of_them():
    box = Mailbox(20, max_wait_s=5.0, fairness=Fairness(clock=HandClock()))
    for number in range(4):
        box.put(("loud", number), 1, 0.0, tenant="loud")
    box.put(("quiet", 0), 1, 0.1, tenant="quiet")
    box.put(("", 0), 1, 0.2)
    box.put(("urgent", 0), 0, 0.3, tenant="loud")
    order = [box.take(0.4) for _ in range(7)]
    assert order[0] == ("urgent", 0)
    assert sorted(order[1:4]) == [("", 0), ("loud", 0), ("quiet", 0)]
    assert order[4:] == [("loud", 1), ("loud", 2), ("loud", 3)]
    assert box.take(0.4) is None
    assert not box._tenants
