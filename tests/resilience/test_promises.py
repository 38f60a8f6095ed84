from __future__ import annotations

from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng
from ngx_agents.resilience import promises as p
from ngx_agents.resilience.promises import Promises


def made() -> tuple[Promises, HandClock]:
    clock = HandClock()
    return Promises(clock=clock, rng=Rng(1)), clock


def test_who_comes_when_told_is_known_once_and_who_comes_early_or_much_too_late_is_not() -> None:
    promises, clock = made()
    told_s = promises.make("t", "ana", 1, ahead=9, drain_per_s=4.0)
    assert 10.0 <= told_s <= 15.0  # ten before, one a second promised, times 1 to 1.5
    assert not promises.take("t", "ana")
    clock.advance(told_s)
    assert promises.take("t", "ana")
    assert not promises.take("t", "ana")
    told_s = promises.make("t", "ana", 1, ahead=0, drain_per_s=4.0)
    clock.advance(told_s + 30.0)
    assert not promises.take("t", "ana")


def test_each_is_told_a_later_time_than_those_before_and_only_by_class() -> None:
    promises, _ = made()
    told = [promises.make("t", f"u{number}", 1, ahead=0, drain_per_s=4.0) for number in range(30)]
    assert told[-1] >= 30.0
    assert promises.make("t", "critical", 0, ahead=0, drain_per_s=4.0) <= 2.0
    assert promises.make("t", "batch", 3, ahead=0, drain_per_s=4.0) >= 31.0


def test_a_quiet_tenant_does_not_stand_behind_what_noisy_ones_were_told() -> None:
    promises, _ = made()
    for number in range(100):
        promises.make("loud", f"u{number}", 1, ahead=0, drain_per_s=4.0, is_noisy=True)
    assert promises.make("quiet", "u", 1, ahead=0, drain_per_s=4.0) <= 2.0
    assert promises.make("loud", "u", 1, ahead=0, drain_per_s=4.0, is_noisy=True) >= 100.0


def test_those_who_never_come_are_forgotten() -> None:
    promises, clock = made()
    for number in range(100):
        promises.make("t", f"u{number}", 1, ahead=0, drain_per_s=100.0)
    assert len(promises) == 100
    clock.advance(60.0)
    promises.sweep()
    assert (len(promises), promises._owners, promises._ends) == (0, {}, [])


def test_it_is_bounded_for_one_owner_and_for_all() -> None:
    promises, _ = made()
    for _ in range(100):
        promises.make("t", "hammer", 1, ahead=0, drain_per_s=100.0)
    assert len(promises) == p.MAX_EACH
    for number in range(p.MAX_OF_A_CLASS + 100):
        promises.make("t", f"u{number}", 1, ahead=0, drain_per_s=100.0)
    assert len(promises) == p.MAX_OF_A_CLASS
    assert promises.make("t", "late", 1, ahead=0, drain_per_s=100.0) >= p.LONGEST_S


def test_where_nothing_drains_the_longest_time_is_told() -> None:
    promises, _ = made()
    assert p.LONGEST_S <= promises.make("t", "u", 2, ahead=100, drain_per_s=-3.0) <= 1.5 * p.LONGEST_S
