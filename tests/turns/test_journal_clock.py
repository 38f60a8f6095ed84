"""Deadlines in the journal's time: instances whose clocks are wrong by an hour neither hurry a turn nor keep it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.postgres_process import PostgresServer, postgres_server
from tests.state.journal_conformance import accept, tell
from tests.turns.house import ANA, ScriptedTeam, eventually, request

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.journal_clock import JournalClock
from ngx_agents.turns.settings import TurnSettings

__all__ = ["postgres_server"]
HOUR_S = 3600.0


class WrongClock(SystemClock):
    def __init__(self, ahead_s: float) -> None:
        self.ahead_s = ahead_s

    def now_s(self) -> float:  # type: ignore[override]  # the base has a static function there
        return time.time() + self.ahead_s


class Teller:
    """A journal that says one time, or nothing."""

    def __init__(self, told_s: float | None) -> None:
        self.told_s = told_s

    async def query(self, question: c.Question) -> Any:
        if self.told_s == 0:
            raise JournalUnavailable("away")
        return self.told_s


@pytest.fixture
async def journal(postgres_server: PostgresServer) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(await postgres_server.emptied_journal(), clock=SystemClock())
    await made.open()
    await made.migrate()
    yield made
    await made.close()


def engine(journal: PostgresJournal, *, ahead_s: float) -> TurnEngine:
    clock = WrongClock(ahead_s)
    return TurnEngine(
        journal=journal,
        team=ScriptedTeam(),
        ids=Ids(clock),
        clock=clock,
        metrics=Metrics(),
        settings=TurnSettings(drain_s=0.05, claim_every_s=0.05),
    )


async def left_behind(journal: PostgresJournal, *, deadline_in_s: float) -> c.AcceptTurn:
    """A turn that an instance, since gone, accepted: its deadline is that far from now."""
    lane, now = Ids(SystemClock()).new("c", 1), time.time()
    await tell(journal, c.CreateConversation(id=lane, owner=ANA, title="", now=now))
    left = accept(lane, "hola", owner=ANA, now=now, deadline_at=now + deadline_in_s, grant_to="gone")
    await tell(journal, left)
    return left


async def status(journal: PostgresJournal, turn_id: str) -> Any:
    return await journal.query(c.GetTurn(id=turn_id, owner=ANA))


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S, 0.0])
async def test_what_is_taken_over_has_the_time_that_is_left_by_the_journals_clock(
    journal: PostgresJournal, ahead_s: float
) -> None:
    in_time = await left_behind(journal, deadline_in_s=60)
    too_late = await left_behind(journal, deadline_in_s=-10)
    async with engine(journal, ahead_s=ahead_s):

        async def all_ended() -> bool:
            turns = [await status(journal, one.turn_id) for one in (in_time, too_late)]
            return all(turn.finished_at is not None for turn in turns)

        await eventually(all_ended, within_s=10)
    assert (await status(journal, in_time.turn_id)).status == "completed"
    failed = await status(journal, too_late.turn_id)
    assert (failed.status, failed.answer.code) == ("failed", "deadline_exceeded")


@pytest.mark.parametrize("ahead_s", [HOUR_S, -HOUR_S])
async def test_a_deadline_is_written_in_the_journals_time(journal: PostgresJournal, ahead_s: float) -> None:
    lane = Ids(SystemClock()).new("c", 1)
    await tell(journal, c.CreateConversation(id=lane, owner=ANA, title="", now=time.time()))
    async with engine(journal, ahead_s=ahead_s) as running:
        accepted = await running.accept(request(lane, "hola"))
        await running.wait(accepted.turn_id, ANA)
    turn = await status(journal, accepted.turn_id)
    assert abs(turn.accepted_at - time.time()) < 30
    assert turn.deadline_at - turn.accepted_at == pytest.approx(60)


async def test_the_machines_time_holds_until_the_journal_told_its_own_and_where_it_has_none() -> None:
    wrong = WrongClock(HOUR_S)
    clock = JournalClock(wrong)
    for silent in (Teller(None), Teller(0)):
        await clock.listen(silent)  # type: ignore[arg-type]  # asked and nothing else
        assert abs(clock.now_s() - time.time() - HOUR_S) < 5
    await clock.listen(Teller(1000.0))  # type: ignore[arg-type]
    assert 1000.0 <= clock.now_s() < 1005.0
    await clock.listen(Teller(0))  # type: ignore[arg-type]
    wrong.ahead_s = -HOUR_S
    assert 1000.0 <= clock.now_s() < 1005.0, "a jump of the machine's clock changes nothing"
