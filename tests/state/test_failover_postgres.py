"""A real Postgres, killed under writers who go on locally: what was acknowledged is stored, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import NOW, accept, finish, ids, tell
from tests.thorough import rounds

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.failover import FailoverJournal, FailoverSettings
from ngx_agents.state.failover_ladder import LadderRules, Losses
from ngx_agents.state.failover_late import LateJournal
from ngx_agents.state.local_acceptance import LocalAcceptance
from ngx_agents.state.local_acceptance_aside import Aside
from ngx_agents.state.local_log import LocalLog
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Owner
from ngx_agents.state.postgres import PostgresJournal

SETTINGS = FailoverSettings(rules=LadderRules(falls_after_s=0.1, max_returns_after=3), probe_every_s=0.05)
WRITERS = 20


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as made:
        yield made


def failover(url: str, folder: Path) -> FailoverJournal:
    losses = Losses()
    late = LateJournal(
        lambda: PostgresJournal(url, clock=SystemClock(), on_lost=losses.tell), name="primary", clock=SystemClock()
    )
    aside = Aside(folder / "aside.jsonl", now=lambda: NOW)
    return FailoverJournal(
        MemoryTier(late),
        clock=SystemClock(),
        settings=SETTINGS,
        acceptance=LocalAcceptance(LocalLog(folder / "local.log"), aside, origin="here"),
        losses=losses,
    )


async def until(journal: FailoverJournal, mode: str, *, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while journal.mode != mode:  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.02)


class Writer:
    def __init__(self, number: int) -> None:
        self.owner = Owner("acme", f"writer {number}")
        self.lane = ids.new("c", 1)
        self.told: list[str] = []
        self.local = 0

    async def begin(self, journal: FailoverJournal) -> None:
        await tell(journal, c.CreateConversation(id=self.lane, owner=self.owner, title="t", now=NOW))
        await journal.query(c.GetProfile(owner=self.owner))
        await self.turn(journal)

    async def write(self, journal: FailoverJournal, stopped: asyncio.Event) -> None:
        await self.begin(journal)
        while not stopped.is_set():
            await self.turn(journal)
            await asyncio.sleep(0.005)

    async def turn(self, journal: FailoverJournal) -> None:
        text = f"texto {len(self.told)}"
        command = accept(self.lane, text, owner=self.owner, now=NOW + len(self.told))
        accepted = await self._insist(journal, command)
        self.told.append(text)
        self.local += accepted.durability == "local"
        assert accepted.epoch is not None
        end = finish(
            self.lane, command.turn_id, accepted.epoch, owner=self.owner, user_seq=accepted.user_seq,
            grant_to="one", now=NOW + len(self.told),
        )  # fmt: skip
        await self._insist(journal, end)

    async def _insist(self, journal: FailoverJournal, command: c.Command) -> c.Accepted:
        while True:
            try:
                found: c.Accepted = await tell(journal, command)
            except JournalUnavailable:
                await asyncio.sleep(0.01)
            else:
                return found


async def crash(server: PostgresServer, folder: Path, kills: int) -> int:
    """Kills the server so often under writers; how many turns were taken locally.

    Those who wait for the fate of a COMMIT at a kill may be all of the writers; `newcomer` comes when it is away.
    """
    journal = failover(await server.emptied_journal(), folder)
    await journal.open()
    await journal.migrate()
    writers, stopped = [Writer(number) for number in range(WRITERS)], asyncio.Event()
    newcomer = Writer(WRITERS)
    await newcomer.begin(journal)
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.write(journal, stopped))
        async with asyncio.timeout(20):
            while not all(writer.told for writer in writers):  # noqa: ASYNC110 - they need nobody's word
                await asyncio.sleep(0.02)
        for number in range(kills):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.kill)
            await until(journal, "local", within_s=20)
            if number == 0:  # later on it may be one of whom nothing is known here, and be refused until it is back
                await newcomer.turn(journal)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.4)
        stopped.set()
    await until(journal, "normal", within_s=60)
    assert newcomer.local == 1
    for writer in (*writers, newcomer):
        page = await journal.query(c.ListMessages(conversation_id=writer.lane, owner=writer.owner, limit=10_000))
        assert [m.text for m in page.items] == [text for asked in writer.told for text in (asked, "listo")]
    await journal.close()
    assert Aside(folder / "aside.jsonl", now=lambda: NOW).records() == []
    return sum(writer.local for writer in writers)


async def test_a_database_killed_under_writers_has_everything_afterwards_once_and_in_order(
    server: PostgresServer, tmp_path: Path
) -> None:
    await crash(server, tmp_path, 1)


SLOW_COMMIT = """
CREATE FUNCTION ngx.dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER dawdle AFTER INSERT ON ngx.turn DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION ngx.dawdle();
"""


async def test_a_kill_that_meets_every_caller_in_its_commit_is_noticed_without_another_call(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = await server.emptied_journal()
    journal = failover(url, tmp_path)
    await journal.open()
    await journal.migrate()
    writers = [Writer(number) for number in range(4)]  # one for each connection that writes
    for writer in writers:
        await writer.begin(journal)
    connection = await asyncpg.connect(url)
    await connection.execute(SLOW_COMMIT)
    await connection.close()
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.turn(journal))
            await asyncio.sleep(0.1)
        assert journal.mode == "normal"
        await asyncio.to_thread(server.kill)
        await until(journal, "local", within_s=6)  # three probes that find every writer busy take longer
        await asyncio.to_thread(server.start)
        connection = await asyncpg.connect(url)
        await connection.execute("DROP TRIGGER dawdle ON ngx.turn; DROP FUNCTION ngx.dawdle()")
        await connection.close()
    await until(journal, "normal", within_s=60)
    for writer in writers:
        page = await journal.query(c.ListMessages(conversation_id=writer.lane, owner=writer.owner))
        assert [m.text for m in page.items] == ["texto 0", "listo", "texto 1", "listo"]
    await journal.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kill_after_kill_loses_nothing(server: PostgresServer, tmp_path: Path) -> None:
    taken = [await crash(server, tmp_path / str(number), 2) for number in range(rounds(2, thorough=10))]
    print("taken locally:", sum(taken))  # noqa: T201
