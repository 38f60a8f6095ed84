"""What a Postgres that cannot be used makes a server say: one clear line; and clocks that are wrong by an hour."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest
from tests.cli.command import Done, ngx
from tests.postgres_process import PostgresServer, database, emptied, postgres_server
from tests.turns.house import ANA, ScriptedTeam

from ngx_agents.clock import SystemClock
from ngx_agents.state.commands import CreateConversation
from ngx_agents.state.ids import Ids
from ngx_agents.state.postgres import PostgresJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnRequest
from ngx_agents.turns.settings import TurnSettings

__all__ = ["database", "emptied", "postgres_server"]

PASSWORD = "never shown"


def said(folder: Path, url: str, *command: str) -> Done:
    environ = {"NGX_PORT": "0", "NGX_DATA_DIR": str(folder), "NGX_LOCAL_BUILTIN": "off", "NGX_SECRET_KEY": "s" * 32}
    return ngx(*(command or ("serve",)), cwd=folder, NGX_JOURNAL_URL=url, NGX_SERVER_LOG_LEVEL="error", **environ)


def assert_one_line(done: Done, line: str, code: int) -> None:
    told = [each for each in done.stderr.splitlines() if not each.startswith("{")]
    assert (done.returncode, told) == (code, [f"ngx: {line}"])
    assert PASSWORD not in done.stderr
    assert done.stdout == ""


def test_wrong_credentials_are_told(tmp_path: Path, postgres_server: PostgresServer) -> None:
    done = said(tmp_path, postgres_server.url(password=PASSWORD))
    assert_one_line(done, "the database refuses the user or the password of the journal's URL", 2)


def test_a_database_that_does_not_exist_is_told(tmp_path: Path, postgres_server: PostgresServer) -> None:
    done = said(tmp_path, postgres_server.url("nowhere"))
    assert_one_line(done, "the database that the journal's URL names does not exist", 2)


def test_a_database_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    done = said(tmp_path, f"postgresql://postgres:{PASSWORD.replace(' ', '%20')}@127.0.0.1:1/db")
    assert_one_line(done, "the database cannot be reached", 1)


async def test_a_journal_of_a_newer_program_is_told(tmp_path: Path, database: str) -> None:
    journal = PostgresJournal(database, clock=SystemClock())
    await journal.open()
    await journal.migrate()
    await journal.close()
    connection = await asyncpg.connect(database, ssl=False)
    await connection.execute("INSERT INTO ngx.migration (version) VALUES (999)")
    await connection.close()
    done = await asyncio.to_thread(said, tmp_path, database)
    assert done.returncode == 1
    assert "999" in done.stderr
    assert "Traceback" not in done.stderr


async def test_missing_tables_are_made(tmp_path: Path, database: str) -> None:
    done = await asyncio.to_thread(said, tmp_path, database, "turns", "dead")
    assert (done.returncode, done.stderr) == (0, "")


class WrongClock(SystemClock):
    """Its `now_s` can be set wrong; what it sleeps and counts is right."""

    def __init__(self) -> None:
        self.wrong_by_s = 0.0
        right = SystemClock()
        self.now_s = lambda: right.now_s() + self.wrong_by_s  # type: ignore[method-assign]  # a static one


@pytest.mark.parametrize("wrong_by_s", [3600.0, -3600.0])
async def test_a_clock_that_is_wrong_by_an_hour_moves_no_lane(emptied: str, wrong_by_s: float) -> None:
    team, clocks = ScriptedTeam(), (WrongClock(), WrongClock())
    settings = TurnSettings(drain_s=0.05, claim_every_s=0.05, beat_every_s=0.1, lease_s=1.0)
    journals = [PostgresJournal(emptied, clock=clock) for clock in clocks]
    for journal in journals:
        await journal.open()
    first, second = (
        TurnEngine(
            journal=journal, team=team, ids=Ids(clock), clock=clock, metrics=Metrics(), settings=settings
        )
        for journal, clock in zip(journals, clocks, strict=True)
    )  # fmt: skip
    ids = Ids(clocks[0])
    conversation = ids.new("c", 1)
    await journals[0].transact([CreateConversation(id=conversation, owner=ANA, title="", now=clocks[0].now_s())])
    async with first, second:
        told = await first.accept(TurnRequest(conversation_id=conversation, owner=ANA, text="hold on"))
        for clock in clocks:
            clock.wrong_by_s = wrong_by_s
            await asyncio.sleep(0.3)
        assert team.order == ["hold on"]
        assert first.subscribe_here(told.turn_id, ANA, None) is not None
        team.release.set()
        assert (await first.wait(told.turn_id, ANA)).status == "completed"
    assert team.order == ["hold on"]
    for journal in journals:
        await journal.close()
