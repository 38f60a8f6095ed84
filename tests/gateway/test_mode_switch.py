"""An operator's word on the mode: one for all instances on the journal, and what a journal that is away does to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from ngx_agents.errors import InvalidRequest, JournalUnavailable
from ngx_agents.gateway.mode_switch import ModeSwitch, told
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.controls import HOUSE, OperatorMode, check_name, read_document
from ngx_agents.telemetry.metrics import Metrics
from tests.memory_journal import opened
from tests.resilience.hand_clock import HandClock
from tests.state.watched_journal import WatchedJournal

CLOCK = HandClock()


@pytest.fixture
async def journal() -> AsyncIterator[WatchedJournal]:
    async with opened(WatchedJournal()) as made:
        yield made


class Instance:
    def __init__(self, journal: WatchedJournal) -> None:
        self.board = ControlBoard(journal, clock=CLOCK, metrics=Metrics())
        self.modes = Modes(clock=CLOCK)
        self.switch = ModeSwitch(self.modes, self.board, clock=CLOCK)


def word(mode: str = "read-only", for_s: float = 60.0) -> OperatorMode:
    return OperatorMode(mode=mode, by="house/ops", reason="a drill", until=CLOCK.now_s() + for_s)


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"mode":"degraded-9","by":"a","reason":"b","until":1}',
        b'{"mode":"normal","by":"a","reason":"","until":1}',
        b'{"mode":"normal","by":"a","reason":"b","until":"soon"}',
        b'{"mode":"normal","by":"a","reason":"b","until":1,"more":2}',
    ],
)
async def test_a_word_that_is_none_changes_nothing(journal: WatchedJournal, body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        read_document("mode", body)
    one = Instance(journal)
    await journal.transact([told(word("degraded-2"), now=1.0)])
    await one.board.refresh()
    await journal.transact([PutControl(kind="mode", id=HOUSE, body=body, now=1.0)])
    await one.board.refresh()
    assert one.modes.current is Mode.DEGRADED_2


def test_the_house_has_one_mode() -> None:
    assert check_name("mode", HOUSE) == HOUSE
    with pytest.raises(InvalidRequest):
        check_name("mode", "other")


async def test_it_holds_here_at_once_and_on_the_others_when_they_look(journal: WatchedJournal) -> None:
    one, other = Instance(journal), Instance(journal)
    command = one.switch.say(word())
    assert (one.modes.current, one.switch.is_everywhere) == (Mode.READ_ONLY, False)
    await journal.transact([command])
    for each in (one, other):
        await each.board.refresh()
        assert (each.modes.current, each.switch.is_everywhere) == (Mode.READ_ONLY, True)
        assert each.modes.reasons == ("operator: a drill",)
    await journal.transact([other.switch.say(None)])
    await one.board.refresh()
    assert (one.modes.current, one.modes.override) == (Mode.NORMAL, None)


async def test_who_starts_later_finds_it_with_the_time_that_is_left_and_not_when_that_is_over(
    journal: WatchedJournal,
) -> None:
    await journal.transact([told(word("degraded-3", for_s=60.0), now=1.0)])
    CLOCK.advance(50.0)
    late = Instance(journal)
    await late.board.refresh()
    assert late.modes.current is Mode.DEGRADED_3
    CLOCK.advance(11.0)
    late.modes.tick()
    assert late.modes.current is Mode.NORMAL
    later = Instance(journal)
    await later.board.refresh()
    assert (later.modes.current, later.modes.override) == (Mode.NORMAL, None)


async def test_another_control_that_changes_does_not_bring_back_a_word_whose_time_is_over(
    journal: WatchedJournal,
) -> None:
    one = Instance(journal)
    await journal.transact([told(word(for_s=5.0), now=1.0)])
    await one.board.refresh()
    CLOCK.advance(6.0)
    one.modes.tick()
    await journal.transact([PutControl(kind="flag", id="f", body=b"{}", now=1.0)])
    await one.board.refresh()
    assert one.modes.current is Mode.NORMAL


async def test_said_while_the_journal_is_away_it_holds_here_alone_until_another_is_stored(
    journal: WatchedJournal,
) -> None:
    one, other = Instance(journal), Instance(journal)
    journal.is_away = True
    with pytest.raises(JournalUnavailable):
        await journal.transact([one.switch.say(word())])
    await one.board.try_refresh()
    journal.is_away = False
    for each in (one, other):
        await each.board.refresh()
    assert (one.modes.current, other.modes.current, one.switch.is_everywhere) == (Mode.READ_ONLY, Mode.NORMAL, False)
    await journal.transact([other.switch.say(word("degraded-1"))])
    await one.board.refresh()
    assert (one.modes.current, one.switch.is_everywhere) == (Mode.DEGRADED_1, True)
