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


def test_an_ipv6_network_counts_as_one_address_and_ipv4_counts_however_it_is_written() -> None:
    lockout = Lockout(HandClock(), guesses=5)
    for number in range(5):
        lockout.guessed(f"2001:db8::{number:x}")
        lockout.guessed("192.0.2.1")
    assert lockout.wait_s("2001:db8::ffff:1") > 0.0
    assert lockout.wait_s("2001:db8:0:1::1") == 0.0
    assert lockout.wait_s("::ffff:192.0.2.1") > 0.0
    assert lockout.wait_s("::ffff:192.0.2.2") == 0.0
    assert lockout.wait_s("not:an:address") == 0.0
    assert len(lockout) == 2


def test_guesses_of_many_addresses_slow_those_and_nobody_else_and_take_no_more_memory() -> None:
    clock = HandClock()
    lockout = Lockout(clock, max_addresses=50, all_per_minute=600.0)
    heard = 0
    for number in range(5000):
        address = f"a{number % 50}"
        if lockout.wait_s(address) == 0.0:
            heard += 1
            lockout.guessed(address)
    assert heard == 60
    assert lockout.wait_s("a1") > 0.0
    assert lockout.wait_s("new") == 0.0
    for number in range(5000):
        lockout.guessed(f"b{number}")
    assert len(lockout) == 50
    assert lockout.wait_s("new") == 0.0
    clock.advance(600.0)
    assert lockout.wait_s("b4999") == 0.0
