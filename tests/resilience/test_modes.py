from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.resilience.hand_clock import HandClock

from ngx_agents.resilience.modes import MODES_BY_LABEL, Mode, ModeChange, Modes


def made() -> tuple[Modes, HandClock]:
    clock = HandClock()
    return Modes(clock=clock), clock


def test_a_mode_is_entered_at_once_and_left_only_after_a_minute_without_it() -> None:
    modes, clock = made()
    modes.signal("overload", Mode.DEGRADED_2, "in the line too long")
    assert (modes.current, modes.reasons) == (Mode.DEGRADED_2, ("overload: in the line too long",))
    clock.advance(30.0)
    modes.signal("overload", Mode.NORMAL)
    clock.advance(59.0)
    modes.tick()
    assert modes.current is Mode.DEGRADED_2
    assert modes.reasons == ("overload: in the line too long",)
    clock.advance(1.0)
    modes.tick()
    assert (modes.current, modes.reasons) == (Mode.NORMAL, ())


def test_a_signal_that_flaps_does_not_make_the_mode_flap() -> None:
    modes, clock = made()
    heard: list[ModeChange] = []
    modes.on_change(heard.append)
    for number in range(100):
        modes.signal("overload", Mode.DEGRADED_1 if number % 2 else Mode.NORMAL, "busy")
        clock.advance(5.0)
        modes.tick()
    assert [change.mode for change in heard] == [Mode.DEGRADED_1]


def test_it_comes_back_step_by_step_each_held_as_long() -> None:
    modes, clock = made()
    modes.signal("overload", Mode.DEGRADED_4, "a")
    modes.signal("overload", Mode.DEGRADED_2, "b")
    seen = []
    for _ in range(13):
        clock.advance(10.0)
        modes.tick()
        seen.append(modes.current)
        if len(seen) == 3:
            modes.signal("overload", Mode.NORMAL)
    assert seen[:5] == [Mode.DEGRADED_4] * 5
    assert seen[5:8] == [Mode.DEGRADED_2] * 3
    assert seen[8:] == [Mode.NORMAL] * 5


def test_the_worst_signal_holds_and_only_those_that_ask_for_it_are_named() -> None:
    modes, _ = made()
    modes.signal("shared", Mode.DEGRADED_1, "Redis does not answer")
    modes.signal("database", Mode.READ_ONLY, "away", hold_s=0.0, retry_after_s=4.0)
    assert (modes.current, modes.reasons, modes.retry_after_s) == (Mode.READ_ONLY, ("database: away",), 4.0)
    modes.signal("database", Mode.NORMAL, hold_s=0.0)
    assert (modes.current, modes.reasons) == (Mode.DEGRADED_1, ("shared: Redis does not answer",))


def test_an_operators_word_holds_over_the_signals_until_taken_back_or_over() -> None:
    modes, clock = made()
    modes.signal("overload", Mode.DEGRADED_1, "busy")
    modes.force(Mode.NORMAL, by="ana", reason="false alarm")
    assert (modes.current, modes.reasons) == (Mode.NORMAL, ("operator: false alarm",))
    modes.automatic()
    assert modes.current is Mode.DEGRADED_1
    modes.force(Mode.READ_ONLY, by="ana", reason="moving house", for_s=20.0)
    clock.advance(19.0)
    modes.tick()
    assert modes.current is Mode.READ_ONLY
    clock.advance(1.0)
    modes.tick()
    assert modes.current is Mode.DEGRADED_1
    assert [change.by for change in modes.history] == ["signals", "ana", "signals", "ana", "signals"]


def test_the_history_is_bounded() -> None:
    modes, _ = made()
    for number in range(500):
        modes.force(Mode.DEGRADED_1 if number % 2 else Mode.NORMAL, by="ana", reason=str(number))
    assert len(modes.history) == 100
    assert modes.history[-1].reasons == ("operator: 499",)


def test_every_mode_has_its_own_label() -> None:
    assert list(MODES_BY_LABEL) == ["normal", "degraded-1", "degraded-2", "degraded-3", "degraded-4", "read-only"]


@given(st.lists(st.tuples(st.sampled_from(list(Mode)), st.floats(0.0, 100.0)), max_size=40))
def test_it_is_never_milder_than_what_is_asked_for_now(steps: list[tuple[Mode, float]]) -> None:
    modes, clock = made()
    asked: list[tuple[float, Mode]] = []
    for mode, passed_s in steps:
        modes.signal("overload", mode, "x")
        asked.append((clock.monotonic_s(), mode))
        assert modes.current >= mode
        clock.advance(passed_s)
        modes.tick()
        ends = [*(at for at, _ in asked[1:]), clock.monotonic_s()]
        recent = [each for (_, each), end in zip(asked, ends, strict=True) if clock.monotonic_s() - end < 60.0]
        assert modes.current == max([asked[-1][1], *recent])
