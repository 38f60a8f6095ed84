"""What an instance remembers of the marks of erasure, and for how long it trusts it."""

from __future__ import annotations

import pytest

from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.vertex.cache.marks import TRUST_S, Marks
from ngx_agents.vertex.scope import CacheRule, User
from tests.vertex.cache.making import HandClock, answer, keep, key_for, question
from tests.vertex.cache.sharing import Instance

HERS = CacheRule(scope=User("maria"))


def test_mark_is_trusted_for_a_while_from_when_it_was_asked_for() -> None:
    clock = HandClock()
    marks = Marks(clock)
    marks.note("maria", b"m", clock.monotonic_s())
    clock.passed_s += TRUST_S
    assert marks.trusted("maria") == (b"m", 1000.0)
    assert marks.trusted("pedro") is None
    clock.passed_s += 0.1
    assert marks.trusted("maria") is None


def test_answer_to_an_earlier_question_does_not_replace_a_later_one() -> None:
    marks = Marks(HandClock())
    marks.note("maria", b"new", 1000.0)
    marks.note("maria", b"old", 999.0)
    assert marks.trusted("maria") == (b"new", 1000.0)
    marks.forget("maria")
    assert marks.trusted("maria") is None


def test_users_seen_last_are_remembered() -> None:
    marks = Marks(HandClock(), max_users=2)
    for group in ("a", "b", "a", "c"):
        marks.note(group, group.encode(), 1000.0)
    assert [marks.trusted(group) is not None for group in "abc"] == [True, False, True]


async def test_users_questions_within_a_few_seconds_ask_for_the_mark_once() -> None:
    clock = HandClock()
    here = Instance(LocalShared(clock), clock)
    for body in (b"1", b"2", b"3"):
        assert await here.cache.find(key_for(here.cache, body, HERS)) is None
    assert here.shared.asked == ["GetMany", "Get", "Get"]
    clock.passed_s += TRUST_S + 0.1
    assert await here.cache.find(key_for(here.cache, b"1", HERS)) is None
    assert here.shared.asked[3:] == ["GetMany"]


@pytest.mark.parametrize("passed_s", [0.0, TRUST_S, TRUST_S + 1])
async def test_trusted_mark_of_before_an_erasure_elsewhere_keeps_nothing(passed_s: float) -> None:
    clock = HandClock()
    shared = LocalShared(clock)
    here, there = Instance(shared, clock), Instance(shared, clock)
    assert await here.cache.find(key_for(here.cache, b"1", HERS)) is None
    await there.cache.erase_user("maria")
    clock.passed_s += passed_s
    key = key_for(here.cache, b"2", HERS)
    assert await here.cache.find(key) is None
    assert not await here.cache.keep(key, HERS, question(HERS), answer("a"), ())
    assert here.cache.in_memory(key_for(here.cache, b"2", HERS)) is None
    assert await there.cache.erase_user("maria") == 0, "nothing lies there"
    assert not await keep(here.cache, key_for(here.cache, b"3", HERS), answer("a"), rule=HERS)
