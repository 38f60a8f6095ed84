from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.journal_clock import JournalClock
from ngx_agents.turns.lease import Lease
from ngx_agents.turns.settings import TurnSettings

SETTINGS = TurnSettings(beat_every_s=2.0, lease_s=6.0, address="http://10.0.0.5:8000")


class SetClock:
    def __init__(self) -> None:
        self.at_s = 100.0
        self.jumped_s = 0.0

    def now_s(self) -> float:
        return 1_790_000_000.0 + self.at_s + self.jumped_s

    def monotonic_s(self) -> float:
        return self.at_s

    async def sleep(self, delay_s: float) -> None:
        self.at_s += delay_s


class Listener:
    """A Journal that keeps what it is told; `takes_s` passes before it answers, `is_away` refuses."""

    def __init__(self, clock: SetClock) -> None:
        self.told: list[c.Command] = []
        self.takes_s = 0.0
        self.is_away = False
        self._clock = clock

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        self._clock.at_s += self.takes_s
        if self.is_away:
            raise JournalUnavailable("away")
        self.told.extend(commands)
        return [True]

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def migrate(self) -> int:
        return 0

    async def query(self, question: c.Question) -> Any:
        assert isinstance(question, c.GetTime)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        raise AssertionError(limit)


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def journal(clock: SetClock) -> Listener:
    return Listener(clock)


@pytest.fixture
def lease(journal: Listener, clock: SetClock) -> Lease:
    return Lease(journal, instance="k_1", settings=SETTINGS, clock=JournalClock(clock), metrics=Metrics())


async def test_nothing_is_held_before_the_first_beat_and_after_leaving(lease: Lease, journal: Listener) -> None:
    assert not lease.is_held
    await lease.take()
    assert lease.is_held
    await lease.leave()
    assert not lease.is_held
    assert journal.told == [
        c.Beat(instance="k_1", address="http://10.0.0.5:8000", lease_s=6.0),
        c.Leave(instance="k_1"),
    ]


async def test_without_a_beat_nothing_is_held_before_others_may_take_it(lease: Lease, clock: SetClock) -> None:
    await lease.take()
    clock.at_s += 4.9
    assert lease.is_held
    clock.at_s += 0.2
    assert not lease.is_held


async def test_the_time_a_beat_was_under_way_counts(lease: Lease, journal: Listener) -> None:
    journal.takes_s = 5.1
    await lease.take()
    assert not lease.is_held


async def test_a_journal_that_is_away_ends_the_lease_and_its_return_renews_it(
    lease: Lease, journal: Listener, clock: SetClock
) -> None:
    await lease.take()
    journal.is_away = True
    beats = 0

    async def sleep(delay_s: float) -> None:
        nonlocal beats
        clock.at_s += delay_s
        beats += 1
        if beats == 4:
            assert not lease.is_held
            journal.is_away = False
        if beats == 5:
            assert lease.is_held
            raise EOFError

    clock.sleep = sleep  # type: ignore[method-assign]  # the test leads the clock
    with pytest.raises(EOFError):
        await lease.keep()


@pytest.mark.parametrize("jumped_s", [3600.0, -3600.0])
async def test_a_clock_that_jumps_moves_no_lease(lease: Lease, clock: SetClock, jumped_s: float) -> None:
    await lease.take()
    clock.jumped_s = jumped_s
    assert lease.is_held
    clock.at_s += 5.1
    assert not lease.is_held
