"""How far a message has come through servers: told, heard, altered."""

from __future__ import annotations

import pytest

from ngx_agents.a2a.message import MAX_CALLS, MAX_DEPTH, Budget
from ngx_agents.a2a.refusals import BudgetSpent, CallsUnbounded
from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.trail import Trail, Trails, read_trail
from ngx_agents.errors import InvalidRequest

TRAIL = Trail(depth=3, calls_left=40, remaining_s=12.5)
OLD, NEW, FOREIGN = b"o" * 32, b"n" * 32, b"f" * 32


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "depth=3", "depth=-1, calls=4, ms=5", "depth=3, calls=4, ms=5 ", "depth=3, calls=4, ms=5\n",
        "depth=99999, calls=4, ms=5", "depth=٣, calls=4, ms=5", "depth=3, calls=4, ms=5, key=12345678",
        "depth=3, calls=4, ms=5, key=12345678, mac=00",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        Trails([NEW]).heard([text])
    with pytest.raises(InvalidRequest):
        read_trail(text)


def test_what_was_told_is_heard() -> None:
    told = Trails([NEW]).told(TRAIL)
    assert Trails([NEW]).heard([told]) == TRAIL == read_trail(told)
    assert Trails([NEW]).heard([]) is None


@pytest.mark.parametrize(("was", "becomes"), [("depth=3", "depth=1"), ("calls=40", "calls=90"), ("ms=12", "ms=92")])
def test_what_was_signed_here_and_altered_since_is_refused(was: str, becomes: str) -> None:
    altered = Trails([NEW]).told(TRAIL).replace(was, becomes)
    with pytest.raises(InvalidRequest, match="altered"):
        Trails([NEW]).heard([altered])


def test_the_first_key_signs_and_all_verify() -> None:
    before, between, after = Trails([OLD]), Trails([NEW, OLD]), Trails([NEW])
    assert after.heard([between.told(TRAIL)]) == TRAIL
    with pytest.raises(InvalidRequest):
        between.heard([before.told(TRAIL).replace("depth=3", "depth=2")])


def test_another_house_is_taken_at_its_word() -> None:
    told = Trails([FOREIGN]).told(TRAIL).replace("depth=3", "depth=2")
    heard = Trails([NEW]).heard([told])
    assert heard is not None
    assert heard.depth == 2


def test_of_what_two_places_tell_the_furthest_and_scarcest_holds() -> None:
    heard = Trails().heard(["depth=1, calls=9, ms=9000", "depth=5, calls=20, ms=100"])
    assert heard == Trail(depth=5, calls_left=9, remaining_s=0.1)


def test_a_chain_of_servers_ends_at_the_depth_of_the_bus_within_the_calls_of_one_turn() -> None:
    depth, calls, hops, in_all = 0, MAX_CALLS, 0, 0
    while depth < MAX_DEPTH:
        root = A2AServer().context(depth=depth, budget=Budget(calls=calls))
        child = root.child("elsewhere", None, 1)
        before = root.calls_left
        calls = child.hand_on()
        assert root.calls_left == before - calls, "what is handed on is not spent here as well"
        depth, hops, in_all = child.depth, hops + 1, in_all + 1
    assert hops == MAX_DEPTH
    assert in_all <= MAX_CALLS
    with pytest.raises(CallsUnbounded):
        A2AServer().context(depth=depth).child("elsewhere", None, 1)
    with pytest.raises(BudgetSpent):
        A2AServer().context(depth=1, budget=Budget(calls=0)).child("elsewhere", None, 1)
