"""Erasures are remembered for as long as they matter, and within bounds."""

from __future__ import annotations

from ngx_agents.vertex.cache.erasures import GRACE_S, Erasures
from tests.vertex.cache.making import HandClock


def test_only_questions_from_before_are_void_once_the_grace_is_over() -> None:
    clock = HandClock()
    erasures = Erasures(clock)
    before = erasures.epoch
    erasures.note("maria")
    after = erasures.epoch
    assert erasures.is_void("maria", before)
    assert erasures.is_void("maria", after), "asked just after, made of what was read before"
    clock.passed_s += GRACE_S
    assert erasures.is_void("maria", before)
    assert not erasures.is_void("maria", after)


def test_others_and_nobodys_questions_are_never_void() -> None:
    erasures = Erasures(HandClock())
    erasures.note("maria")
    assert not erasures.is_void("pedro", 0)
    assert not erasures.is_void(None, 0)


def test_forgetting_a_user_makes_every_users_old_questions_void_and_no_new_ones() -> None:
    clock = HandClock()
    erasures = Erasures(clock, max_users=3)
    old = erasures.epoch
    for number in range(3):
        erasures.note(f"user {number}")
    between = erasures.epoch
    assert not erasures.is_void("pedro", old)
    erasures.note("user 3")
    clock.passed_s += GRACE_S
    assert erasures.is_void("user 0", old), "forgotten, and still void"
    assert erasures.is_void("pedro", old)
    assert not erasures.is_void("pedro", between)
    assert not erasures.is_void("user 0", between)


def test_user_erased_again_is_void_from_the_last_time() -> None:
    clock = HandClock()
    erasures = Erasures(clock)
    erasures.note("maria")
    between = erasures.epoch
    clock.passed_s += GRACE_S
    erasures.note("maria")
    clock.passed_s += GRACE_S
    assert erasures.is_void("maria", between)
    assert not erasures.is_void("maria", erasures.epoch)
