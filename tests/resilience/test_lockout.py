"""Wrong guesses: a few are free, then time has to pass; memory is bounded whatever comes."""

from __future__ import annotations

from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience.lockout import Lockout


def test_after_its_guesses_an_address_waits_and_others_do_not() -> None:
    clock = HandClock()
    lockout = Lockout(clock, guesses=5, every_s=3.0)
    for _ in range(5):
        assert lockout.wait_s("a") == 0.0
        lockout.guessed("a")
    assert lockout.wait_s("a") == 3.0
    assert lockout.wait_s("b") == 0.0
    clock.advance(3.0)
    assert lockout.wait_s("a") == 0.0
    lockout.guessed("a")
    assert lockout.wait_s("a") == 3.0


def test_who_has_many_addresses_gets_no_further_and_takes_no_more_memory() -> None:
    clock = HandClock()
    lockout = Lockout(clock, max_addresses=50, all_per_minute=600.0)
    heard = 0
    for number in range(5000):
        if lockout.wait_s(f"a{number}") == 0.0:
            heard += 1
            lockout.guessed(f"a{number}")
    assert heard == 60
    assert len(lockout) == 50
    clock.advance(0.1)
    assert lockout.wait_s("new") == 0.0
