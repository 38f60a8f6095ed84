"""The line before a lane: urgent first, fair inside a class, nobody starves, bounded."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngx_agents.resilience.fairness import Fairness
from ngx_agents.vertex.permit_line import PermitLine, Waiter
from tests.resilience.hand_clock import HandClock


def waiter(loop: asyncio.AbstractEventLoop, urgency: int, since_s: float) -> Waiter[int]:
    return Waiter(granted=loop.create_future(), urgency=urgency, since_s=since_s, deadline_s=since_s + 60.0)


def line_of(*places: tuple[int, float], most: int = 10) -> tuple[PermitLine[int], list[Waiter[int]]]:
    line: PermitLine[int] = PermitLine(most)
    loop = asyncio.new_event_loop()
    waiters = [waiter(loop, urgency, since_s) for urgency, since_s in places]
    loop.close()
    for each in waiters:
        line.add(each)
    return line, waiters


def test_the_urgent_go_first_and_inside_a_class_the_first_come() -> None:
    line, waiters = line_of((2, 0.0), (1, 1.0), (0, 2.0), (1, 3.0))
    assert [waiters.index(line.pop()) for _ in range(4)] == [2, 1, 3, 0]
    with pytest.raises(IndexError):
        line.pop()


def test_inside_a_class_the_tenant_that_was_given_less_is_next_and_then_they_take_turns() -> None:
    fairness = Fairness(clock=HandClock())
    fairness.charge("loud", "u", 1_000.0)
    line: PermitLine[int] = PermitLine(20, fairness)
    loop = asyncio.new_event_loop()
    for number in range(12):
        each = waiter(loop, 1, float(number))
        each.tenant = "loud" if number < 8 else "quiet"
        line.add(each)
    loop.close()
    assert [line.pop().tenant for _ in range(12)][:5] == ["quiet", "quiet", "quiet", "quiet", "loud"]
    line = PermitLine(20, Fairness(clock=HandClock()))
    loop = asyncio.new_event_loop()
    for number in range(6):
        each = waiter(loop, 1, float(number))
        each.tenant = "a" if number < 4 else "b"
        line.add(each)
    loop.close()
    assert [line.pop().tenant for _ in range(6)] == ["a", "b", "a", "b", "a", "a"]


def test_thirty_seconds_of_waiting_are_worth_a_class() -> None:
    line, waiters = line_of((3, 0.0), (2, 29.0), (2, 31.0), (0, 89.5), (0, 91.5))
    assert [waiters.index(line.pop()) for _ in range(5)] == [1, 3, 0, 2, 4]


def test_a_full_line_gives_up_the_newest_of_the_least_urgent_class_and_never_an_equal() -> None:
    line, waiters = line_of((1, 0.0), (2, 1.0), (3, 2.0), (3, 3.0), most=4)
    assert line.is_full
    assert line.displace(3) is None
    assert line.displace(0) is waiters[3]
    assert line.displace(1) is waiters[2]
    assert line.displace(1) is waiters[1]
    assert line.displace(1) is None
    assert len(line) == 1


def test_those_ahead_are_of_the_same_class_or_more_urgent() -> None:
    line, _ = line_of((0, 0.0), (1, 1.0), (3, 2.0))
    assert [line.ahead_of(urgency) for urgency in range(4)] == [1, 2, 2, 3]


@given(steps=st.lists(st.tuples(st.sampled_from(["add", "pop", "remove", "displace"]), st.integers(0, 3)), max_size=80))
def test_nobody_is_lost_or_served_twice(steps: list[tuple[str, int]]) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    line: PermitLine[int] = PermitLine(1000)
    inside: list[Waiter[int]] = []
    for at_s, (step, urgency) in enumerate(steps):
        if step == "add":
            inside.append(waiter(loop, urgency, float(at_s)))
            line.add(inside[-1])
        elif step == "pop" and inside:
            inside.remove(line.pop())
        elif step == "remove" and inside:
            gone = inside.pop(urgency % len(inside))
            line.remove(gone)
            line.remove(gone)
        elif step == "displace":
            displaced = line.displace(urgency)
            lower = [each for each in inside if each.urgency > urgency]
            assert (displaced is None) == (not lower)
            if displaced is not None:
                worst = max(each.urgency for each in lower)
                assert displaced is [each for each in inside if each.urgency == worst][-1]
                inside.remove(displaced)
        assert len(line) == len(inside)
        assert set(map(id, line.waiters())) == set(map(id, inside))
