"""A flood of what nobody waits for does not delay what is critical by more than one group commit, on both journals."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.postgres_process import *  # noqa: F403
from tests.state.journal_conformance import ANA, NOW, accept, conversation, ids

from ngx_agents.clock import SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.resilience.caller import CALLER, Caller
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner, Profile
from ngx_agents.state.owner_thread import LEAST_SHARE, MAX_BATCH, MAX_WAITING, OwnerThread
from ngx_agents.state.postgres import PostgresJournal, PostgresSettings
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.state.sqlite_batches import understood
from ngx_agents.state.urgency import BACKGROUND, FIRST, INTERACTIVE, LAST, urgency_of_commands


def put_profile(number: int) -> c.PutProfile:
    return c.PutProfile(owner=Owner("acme", f"u{number}"), profile=Profile(), now=NOW)


def test_each_command_has_the_class_of_whom_it_is_for() -> None:
    assert urgency_of_commands([put_profile(1)]) == BACKGROUND
    token = CALLER.set(Caller("acme", "ana", 1))
    try:
        assert urgency_of_commands([put_profile(1)]) == INTERACTIVE
        assert urgency_of_commands([accept(ids.new("c", 1), turn_class=0)]) == FIRST
        assert urgency_of_commands([accept(ids.new("c", 1), turn_class=3)]) == LAST
        create = c.CreateConversation(id=ids.new("c", 1), owner=ANA, title="", now=NOW)
        assert urgency_of_commands([create, accept(create.id, turn_class=2)]) == BACKGROUND
        assert urgency_of_commands([c.PutControl(kind="mode", id="house", body=b"", now=NOW)]) == FIRST
        assert urgency_of_commands([]) == LAST
    finally:
        CALLER.reset(token)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


@pytest.fixture
async def postgres(emptied: str) -> AsyncIterator[PostgresJournal]:
    made = PostgresJournal(emptied, clock=SystemClock(), settings=PostgresSettings(writers=1))
    await made.open()
    yield made
    await made.close()


class Flood:
    """So many calls of one user's batch; `done` counts them."""

    def __init__(self, journal: Journal, count: int) -> None:
        self.journal = journal
        self.count = count
        self.done = 0

    async def run(self) -> None:
        CALLER.set(Caller("noisy", "ben", 3))
        async with asyncio.TaskGroup() as group:
            for number in range(self.count):
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        await self.journal.transact([put_profile(number)])
        self.done += 1


async def done_before_a_critical_one(journal: Journal, flood: Flood) -> int:
    """How many of the flood were written between the asking and the answer."""
    lane = await conversation(journal)
    async with asyncio.TaskGroup() as group:
        group.create_task(flood.run())
        while not flood.done:  # noqa: ASYNC110  # another task's doing
            await asyncio.sleep(0)
        before = flood.done
        [accepted] = await journal.transact([accept(lane, turn_class=0)])
        assert isinstance(accepted, c.Accepted)
        found = flood.done - before
        assert flood.done < flood.count
    assert flood.done == flood.count
    return found


async def test_on_sqlite_it_is_in_the_next_group_commit(sqlite: SqliteJournal) -> None:
    lane, flood, batches, write = (
        await conversation(sqlite),
        Flood(sqlite, 4000),
        list[Any](),
        sqlite._writer._run_batch,
    )

    def noted(db: Any, jobs: Any) -> list[Any]:
        batches.append(jobs)
        return write(db, jobs)

    sqlite._writer._run_batch = noted
    async with asyncio.TaskGroup() as group:
        group.create_task(flood.run())
        while not flood.done:  # noqa: ASYNC110  # another task's doing
            await asyncio.sleep(0)
        critical, written = [accept(lane, turn_class=0)], len(batches)
        [accepted] = await sqlite.transact(critical)
        assert isinstance(accepted, c.Accepted)
    [found] = [number for number, batch in enumerate(batches) if critical in batch]
    assert found - written <= 1  # besides the one at work, one that may just have been gathered
    assert len(batches) > written + 4


async def test_on_postgres_it_is_in_the_next_transaction(postgres: PostgresJournal) -> None:
    """What the flood does goes one by one there: at most the one at work and one more are done first."""
    assert await done_before_a_critical_one(postgres, Flood(postgres, 300)) <= 2


async def test_on_sqlite_an_empty_call_waits_for_every_class(sqlite: SqliteJournal) -> None:
    flood = Flood(sqlite, 1000)
    async with asyncio.TaskGroup() as group:
        group.create_task(flood.run())
        await asyncio.sleep(0)
        while not flood.done:  # noqa: ASYNC110  # another task's doing
            await asyncio.sleep(0)
        assert await sqlite.transact([]) == []
        assert flood.done == flood.count


class Gate:
    """A thread's resource that stands still until it is opened."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.batches: list[list[Any]] = []

    def close(self) -> None:
        return


def _noted(gate: Gate, jobs: Any) -> list[Any]:
    gate.is_open.wait(10)
    gate.batches.append(list(jobs))
    return list(jobs)


async def gated() -> tuple[OwnerThread[Gate], Gate]:
    gate = Gate()
    thread = OwnerThread("gated", lambda: gate, run_batch=_noted, understood=understood, courtesy=Courtesy())
    await thread.start()
    return thread, gate


async def test_of_more_than_a_batch_the_urgent_go_first_and_every_class_has_a_part() -> None:
    thread, gate = await gated()
    first = thread.submit("first")
    await asyncio.sleep(0.05)
    told = [thread.submit((urgency, number), urgency) for number in range(1000) for urgency in (3, 2, 1, 0)]
    gate.is_open.set()
    await asyncio.gather(first, *told)
    await thread.stop()
    _, batch, *_ = gate.batches
    counts = [sum(urgency == each for each, _ in batch) for urgency in range(4)]
    part = MAX_BATCH // LEAST_SHARE
    assert counts == [MAX_BATCH - 3 * part, part, part, part]
    for urgency in range(4):
        flat = [number for one in gate.batches[1:] for each, number in one if each == urgency]
        assert flat == list(range(1000))


async def test_more_than_the_bound_is_refused_and_what_was_taken_is_done() -> None:
    thread, gate = await gated()
    first = thread.submit("first")
    await asyncio.sleep(0.05)
    told = [thread.submit(number, 3) for number in range(MAX_WAITING)]
    with pytest.raises(JournalUnavailable):
        thread.submit("too many", 0)
    gate.is_open.set()
    stopping = asyncio.create_task(thread.stop())
    assert await asyncio.gather(first, *told) == ["first", *range(MAX_WAITING)]
    await stopping
