"""The breaker opens on what its rules say and nothing less, probes carefully, and obeys an operator."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.resilience.breaker import Breaker, BreakerRules, BreakerState, Ticket


def made(**rules: float) -> tuple[Breaker, HandClock]:
    clock = HandClock()
    return Breaker(BreakerRules(**rules), clock=clock, rng=Rng(1)), clock


def admitted(breaker: Breaker) -> Ticket:
    ticket = breaker.admit()
    assert ticket is not None
    return ticket


def opened() -> tuple[Breaker, HandClock]:
    breaker, clock = made()
    for _ in range(10):
        admitted(breaker).failed()
    assert breaker.state == "open"
    return breaker, clock


def probing() -> tuple[Breaker, HandClock]:
    breaker, clock = opened()
    clock.at_s += breaker.retry_after_s
    return breaker, clock


def test_half_of_ten_calls_failing_opens_it() -> None:
    breaker, _ = made()
    for _ in range(5):
        admitted(breaker).succeeded()
    for _ in range(4):
        admitted(breaker).failed()
    assert breaker.state == "closed"
    admitted(breaker).failed()
    assert breaker.state == "open"
    assert breaker.admit() is None


def test_fewer_than_half_never_open_it() -> None:
    breaker, clock = made()
    for number in range(500):
        ticket = admitted(breaker)
        if number % 5 in (1, 3):
            ticket.failed()
        else:
            ticket.succeeded()
        clock.at_s += 0.05
    assert breaker.state == "closed"


def test_fewer_calls_than_the_minimum_never_open_it() -> None:
    breaker, _ = made()
    for _ in range(9):
        admitted(breaker).failed()
    assert breaker.state == "closed"


def test_half_of_the_calls_slow_opens_it_and_failures_are_not_slow() -> None:
    breaker, _ = made(min_calls=4, failure_share=1.0)
    for _ in range(2):
        admitted(breaker).failed()
    for _ in range(2):
        admitted(breaker).succeeded(slow=True)
    assert breaker.state == "open"
    assert breaker.reason == "slow"


def test_failures_that_left_the_window_are_forgotten() -> None:
    breaker, clock = made()
    admitted(breaker).succeeded()
    for _ in range(8):
        admitted(breaker).failed()
    clock.at_s += 33.1
    for _ in range(9):
        admitted(breaker).failed()
    assert breaker.state == "closed"


def test_ten_failures_in_a_row_open_it_though_no_window_holds_ten() -> None:
    breaker, clock = made()
    for _ in range(9):
        admitted(breaker).failed()
        clock.at_s += 20.0
    assert breaker.state == "closed"
    admitted(breaker).failed()
    assert breaker.state == "open"
    assert breaker.reason == "failures in a row"


def test_failures_alone_in_their_window_never_open_it() -> None:
    breaker, clock = made()
    for _ in range(100):
        admitted(breaker).failed()
        clock.at_s += 40.0
    assert breaker.state == "closed"


def test_ignored_calls_count_for_nothing() -> None:
    breaker, _ = made()
    for _ in range(50):
        admitted(breaker).ignored()
    for _ in range(9):
        admitted(breaker).failed()
    assert breaker.state == "closed"


def test_only_the_first_word_of_a_ticket_counts() -> None:
    breaker, _ = made()
    for _ in range(9):
        ticket = admitted(breaker)
        ticket.failed()
        ticket.failed()
    assert breaker.state == "closed"


def test_it_stays_open_about_thirty_seconds_and_says_how_long() -> None:
    breaker, clock = opened()
    first_s = breaker.retry_after_s
    assert 24.0 <= first_s <= 36.0
    clock.at_s += first_s - 0.01
    assert breaker.admit() is None
    assert breaker.retry_after_s == pytest.approx(0.01)
    clock.at_s += 0.02
    assert breaker.state == "half_open"
    assert breaker.admit() is not None


def test_three_probes_and_no_more_are_let_through() -> None:
    breaker, _ = probing()
    assert [breaker.admit() is not None for _ in range(5)] == [True, True, True, False, False]
    assert 0.0 < breaker.retry_after_s <= 1.0


def test_three_good_probes_close_it() -> None:
    breaker, _ = probing()
    tickets = [admitted(breaker) for _ in range(3)]
    for ticket in tickets[:2]:
        ticket.succeeded()
    assert breaker.state == "half_open"
    tickets[2].succeeded()
    assert breaker.state == "closed"
    for _ in range(9):
        admitted(breaker).failed()
    assert breaker.state == "closed"


@pytest.mark.parametrize("is_slow", [True, False])
def test_one_bad_probe_reopens_it_for_longer_up_to_the_maximum(is_slow: bool) -> None:
    breaker, clock = opened()
    for _ in range(4):
        clock.at_s += breaker.retry_after_s
        ticket = admitted(breaker)
        if is_slow:
            ticket.succeeded(slow=True)
        else:
            ticket.failed()
        assert breaker.state == "open"
        assert 48.0 <= breaker.retry_after_s <= 72.0


def test_closing_forgets_how_often_it_reopened() -> None:
    breaker, clock = probing()
    admitted(breaker).failed()
    clock.at_s += breaker.retry_after_s
    for _ in range(3):
        admitted(breaker).succeeded()
    for _ in range(10):
        admitted(breaker).failed()
    assert breaker.retry_after_s <= 36.0


def test_a_cancelled_probe_frees_its_slot() -> None:
    breaker, _ = probing()
    tickets = [admitted(breaker) for _ in range(3)]
    tickets[0].ignored()
    tickets[0].ignored()
    assert breaker.admit() is not None
    assert breaker.admit() is None


def test_probes_that_never_settle_do_not_keep_it_half_open() -> None:
    breaker, clock = probing()
    lost = [admitted(breaker) for _ in range(3)]
    clock.at_s += 29.0
    assert breaker.admit() is None
    clock.at_s += 2.0
    fresh = [admitted(breaker) for _ in range(3)]
    assert breaker.admit() is None
    lost[0].failed()
    assert breaker.state == "half_open"
    for ticket in fresh:
        ticket.succeeded()
    assert breaker.state == "closed"


def test_outcomes_from_before_the_state_changed_are_not_counted() -> None:
    breaker, clock = made()
    late = [admitted(breaker) for _ in range(20)]
    for _ in range(10):
        admitted(breaker).failed()
    clock.at_s += breaker.retry_after_s
    probes = [admitted(breaker) for _ in range(3)]
    late[0].failed()
    assert breaker.state == "half_open"
    late[1].ignored()
    assert breaker.admit() is None
    for ticket in probes:
        ticket.succeeded()
    for ticket in late[2:]:
        ticket.failed()
    assert breaker.state == "closed"


def test_a_manual_switch_off_stays_until_it_is_given_back() -> None:
    breaker, clock = made()
    breaker.force_open("maintenance")
    clock.at_s += 100_000.0
    assert breaker.admit() is None
    assert (breaker.state, breaker.reason) == ("forced_open", "maintenance")
    assert breaker.retry_after_s > 0.0
    breaker.automatic()
    assert breaker.state == "closed"
    assert breaker.admit() is not None


def test_forced_closed_admits_whatever_calls_come_to() -> None:
    breaker, _ = opened()
    breaker.force_closed()
    for _ in range(50):
        admitted(breaker).failed()
    assert breaker.state == "forced_closed"
    breaker.automatic()
    assert breaker.state == "closed"


def test_a_hint_makes_it_probe_and_overrules_no_other_state() -> None:
    breaker, _ = made()
    breaker.suspect("a peer opened")
    assert breaker.state == "half_open"
    assert [breaker.admit() is not None for _ in range(4)] == [True, True, True, False]
    other, _ = opened()
    other.suspect("a peer opened")
    assert other.state == "open"


def test_changes_are_told_once_each_with_their_reason() -> None:
    heard: list[tuple[BreakerState, str]] = []
    clock = HandClock()
    breaker = Breaker(
        BreakerRules(min_calls=1), clock=clock, rng=Rng(1), on_change=lambda state, why: heard.append((state, why))
    )
    admitted(breaker).failed()
    clock.at_s += 40.0
    for _ in range(3):
        admitted(breaker).succeeded()
    assert [state for state, _ in heard] == ["open", "half_open", "closed"]
    assert heard[0][1] == "failures in a row"


@pytest.mark.parametrize(
    "rules", [{"min_calls": 0}, {"failure_share": 0.0}, {"open_s": 90.0}, {"window_s": 0.0}, {"probes": 0}]
)
def test_rules_that_cannot_work_are_refused(rules: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        BreakerRules(**rules)


OUTCOMES = st.lists(st.tuples(st.sampled_from(["ok", "slow", "failed", "ignored"]), st.floats(0.0, 2.0)), max_size=120)


@given(outcomes=OUTCOMES)
def test_it_opens_exactly_when_the_calls_of_the_window_say_so(outcomes: list[tuple[str, float]]) -> None:
    breaker, clock = made(min_calls=5)
    seen: list[tuple[int, str]] = []  # (tenth of a window, outcome)
    in_a_row = 0
    for outcome, pause_s in outcomes:
        clock.at_s += pause_s
        ticket = admitted(breaker)
        {"ok": ticket.succeeded, "failed": ticket.failed, "ignored": ticket.ignored}.get(
            outcome, lambda ticket=ticket: ticket.succeeded(slow=True)
        )()
        if outcome == "ignored":
            assert breaker.state == "closed"
            continue
        bucket = int(clock.at_s / 3.0)
        seen = [each for each in seen if each[0] > bucket - 10]
        in_a_row = (in_a_row if seen else 0) + 1 if outcome == "failed" else 0
        seen.append((bucket, outcome))
        words = [word for _, word in seen]
        should_open = in_a_row >= 5 or (
            len(words) >= 5 and max(words.count("failed"), words.count("slow")) >= 0.5 * len(words)
        )
        assert (breaker.state == "open") == should_open
        if should_open:
            return


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "ok", "failed", "ignored", "wait"]), st.integers(0, 50)), max_size=200
)


@given(steps=STEPS)
def test_half_open_never_has_more_than_three_probes_out(steps: list[tuple[str, int]]) -> None:
    clock = HandClock()
    out: list[Ticket] = []  # of the present state
    rules = BreakerRules(min_calls=2)
    breaker = Breaker(rules, clock=clock, rng=Rng(1), on_change=lambda _state, _why: out.clear())
    breaker.suspect("hint")
    for step, pick in steps:
        if step == "wait":
            clock.at_s += pick
        elif step == "admit":
            if ticket := breaker.admit():
                out.append(ticket)
        elif out:
            ticket = out.pop(pick % len(out))
            {"ok": ticket.succeeded, "failed": ticket.failed, "ignored": ticket.ignored}[step]()
        assert breaker.state != "half_open" or len(out) <= 3


def test_an_admitted_and_recorded_call_is_cheap() -> None:
    breaker = Breaker(BreakerRules(), clock=SystemClock(), rng=Rng(1))
    best_s = min(_timed(breaker, 5000) for _ in range(20))
    assert best_s < 8e-6  # 1.3 us measured alone; the bound leaves room for a machine that others use too


def _timed(breaker: Breaker, calls: int) -> float:
    began_s = time.thread_time()
    for _ in range(calls):
        admitted(breaker).succeeded()
    return (time.thread_time() - began_s) / calls
