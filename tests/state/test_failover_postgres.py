"""A real Postgres, killed under writers who go on locally: what was acknowledged is stored, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres_process import PostgresServer
from tests.state.journal_conformance import NOW, accept, finish, ids, tell

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.failover import FailoverJournal, FailoverSettings
from ngx_agents.state.failover_ladder import LadderRules
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
    late = LateJournal(lambda: PostgresJournal(url, clock=SystemClock()), name="primary", clock=SystemClock())
    aside = Aside(folder / "aside.jsonl", now=lambda: NOW)
    return FailoverJournal(
        MemoryTier(late),
        clock=SystemClock(),
        settings=SETTINGS,
        acceptance=LocalAcceptance(LocalLog(folder / "local.log"), aside, origin="here"),
    )


class Writer:
    def __init__(self, number: int) -> None:
        self.owner = Owner("acme", f"writer {number}")
        self.lane = ids.new("c", 1)
        self.told: list[str] = []
        self.local = 0

    async def write(self, journal: FailoverJournal, stopped: asyncio.Event) -> None:
        await tell(journal, c.CreateConversation(id=self.lane, owner=self.owner, title="t", now=NOW))
        await journal.query(c.GetProfile(owner=self.owner))
        while not stopped.is_set():
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
            await asyncio.sleep(0.002)

    async def _insist(self, journal: FailoverJournal, command: c.Command) -> c.Accepted:
        while True:
            try:
                found: c.Accepted = await tell(journal, command)
            except JournalUnavailable:
                await asyncio.sleep(0.01)
            else:
                return found


async def crash(server: PostgresServer, folder: Path, kills: int) -> int:
    """Kills the server so often under writers; how many turns were taken locally."""
    journal = failover(await server.emptied_journal(), folder)
    await journal.open()
    await journal.migrate()
    writers, stopped = [Writer(number) for number in range(WRITERS)], asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.write(journal, stopped))
        async with asyncio.timeout(20):
            while not all(writer.told for writer in writers):  # noqa: ASYNC110 - they need nobody's word
                await asyncio.sleep(0.02)
        for _ in range(kills):
            await asyncio.sleep(0.3)
            await asyncio.to_thread(server.kill)
            await asyncio.sleep(0.4)
            await asyncio.to_thread(server.start)
            await asyncio.sleep(0.4)
        stopped.set()
    async with asyncio.timeout(20):
        while journal.mode != "normal":  # noqa: ASYNC110 - the server is another process
            await asyncio.sleep(0.02)
    for writer in writers:
        page = await journal.query(c.ListMessages(conversation_id=writer.lane, owner=writer.owner, limit=10_000))
        assert [m.text for m in page.items] == [text for asked in writer.told for text in (asked, "listo")]
    await journal.close()
    assert Aside(folder / "aside.jsonl", now=lambda: NOW).records() == []
    return sum(writer.local for writer in writers)


async def test_a_database_killed_under_writers_has_everything_afterwards_once_and_in_order(
    server: PostgresServer, tmp_path: Path
) -> None:
    """A round in which every writer waits for the fate of a lost COMMIT takes nothing locally; another is tried."""
    for number in range(6):
        if await crash(server, tmp_path / str(number), 1) > WRITERS:
            return
    pytest.fail("no turn was ever taken locally")


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_twenty_kills_lose_nothing(server: PostgresServer, tmp_path: Path) -> None:
    taken = [await crash(server, tmp_path / str(number), 2) for number in range(10)]
    print("taken locally:", sum(taken))  # noqa: T201
    assert sum(taken) > 10 * WRITERS
