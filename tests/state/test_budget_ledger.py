"""Budgets that instances spend together: never beyond a limit by more than one reservation, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.resilience.hand_clock import HandClock

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.budget_ledger import AGAIN_S, IDLE_S, BudgetLedger
from ngx_agents.state.commands import ListMeters
from ngx_agents.state.sqlite import SqliteJournal

METER = "month/acme/2026-11/tokens"


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    made = SqliteJournal(tmp_path / "journal.db")
    await made.open()
    await made.migrate()
    yield made
    await made.close()


class Watched:
    """The journal, and what it was told."""

    def __init__(self, journal: SqliteJournal) -> None:
        self._journal = journal
        self.told: list[Any] = []

    async def transact(self, commands: Any) -> Any:
        self.told += commands
        return await self._journal.transact(commands)


class Tree:
    """Agents that call agents that call the model, on any of several instances, for as long as the budget lets them."""

    def __init__(self, journal: Any, *, instances: int, limit: int, rng: Rng) -> None:
        self.rng, self.limit = rng, limit
        self.journal = journal
        self.ledgers = [BudgetLedger(journal, clock=SystemClock()) for _ in range(instances)]
        self.spent = self.largest = self.refused = 0

    async def run(self, *, depth: int) -> None:
        ledger = self.ledgers[int(self.rng.random() * len(self.ledgers))]
        lease = ledger.lease(METER, limit=self.limit, ends_at=2e9)
        amount = 1 + int(self.rng.random() * 40)
        self.largest = max(self.largest, amount)
        if not await ledger.reserve(lease, amount, is_forced=False):
            self.refused += 1
            return
        await asyncio.sleep(0)
        spent = int(self.rng.random() * (amount + 1))
        ledger.settle(lease, amount, spent)
        self.spent += spent
        if self.rng.random() < 0.05:
            await ledger.give_back(idle_s=0.0)
        if self.rng.random() < 0.02 and ledger in self.ledgers:  # this instance is killed: what it held is lost with it
            self.ledgers[self.ledgers.index(ledger)] = BudgetLedger(self.journal, clock=SystemClock())
        if depth:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(3):
                    tasks.create_task(self.run(depth=depth - 1))


@pytest.mark.parametrize("seed", range(12))
async def test_a_runaway_tree_over_instances_overspends_by_less_than_one_reservation(
    journal: SqliteJournal, seed: int
) -> None:
    rng = Rng(seed)
    tree = Tree(journal, instances=1 + seed % 5, limit=400 + int(rng.random() * 2000), rng=rng)
    while tree.refused < 10:
        await tree.run(depth=4)
    assert tree.spent < tree.limit + tree.largest
    [meter] = await journal.query(ListMeters())
    assert meter.leased < tree.limit + tree.largest


async def test_a_budget_is_spent_nearly_whole_by_one_instance_and_by_four(journal: SqliteJournal) -> None:
    for instances in (1, 4):
        ledgers = [BudgetLedger(journal, clock=SystemClock()) for _ in range(instances)]
        passed = 0
        for number in range(3000):
            ledger = ledgers[number % instances]
            lease = ledger.lease(f"m{instances}", limit=10_000, ends_at=2e9)
            if await ledger.reserve(lease, 10, is_forced=False):
                ledger.settle(lease, 10, 10)
                passed += 10
        assert 9_500 <= passed <= 10_010


async def test_the_journal_is_asked_seldom(journal: SqliteJournal) -> None:
    watched = Watched(journal)
    ledger = BudgetLedger(watched, clock=SystemClock())  # type: ignore[arg-type]
    lease = ledger.lease(METER, limit=1_000_000, ends_at=2e9)
    for _ in range(300):
        assert await ledger.reserve(lease, 100, is_forced=False)
        ledger.settle(lease, 100, 50)
    assert len(watched.told) <= 3


async def test_a_restart_forgets_nothing_and_a_stop_gives_everything_back(journal: SqliteJournal) -> None:
    async with BudgetLedger(journal, clock=SystemClock()) as ledger:
        lease = ledger.lease(METER, limit=64_000, ends_at=2e9)
        assert await ledger.reserve(lease, 100, is_forced=False)
        ledger.settle(lease, 100, 70)
    [meter] = await journal.query(ListMeters())
    assert (meter.leased, meter.spent) == (70, 70)
    again = BudgetLedger(journal, clock=SystemClock())
    lease = again.lease(METER, limit=70, ends_at=2e9)
    assert not await again.reserve(lease, 1, is_forced=False)


async def test_more_than_was_reserved_is_owed_and_counted(journal: SqliteJournal) -> None:
    ledger = BudgetLedger(journal, clock=SystemClock())
    lease = ledger.lease(METER, limit=1000, ends_at=2e9)
    assert await ledger.reserve(lease, 10, is_forced=False)
    ledger.settle(lease, 10, 2000)
    await ledger.give_back(idle_s=0.0)
    [meter] = await journal.query(ListMeters())
    assert (meter.leased, meter.spent) == (2000, 2000)
    assert not await ledger.reserve(lease, 1, is_forced=False)


async def test_what_is_forced_is_counted_beyond_the_limit_and_says_that_it_is(journal: SqliteJournal) -> None:
    ledger = BudgetLedger(journal, clock=SystemClock())
    lease = ledger.lease(METER, limit=10, ends_at=2e9)
    for over in (False, True, True):
        assert await ledger.reserve(lease, 6, is_forced=True)
        assert lease.is_over is over
        ledger.settle(lease, 6, 6)


async def test_one_that_is_used_up_is_asked_about_again_only_after_a_while(journal: SqliteJournal) -> None:
    watched, clock = Watched(journal), HandClock()
    ledger = BudgetLedger(watched, clock=clock)  # type: ignore[arg-type]
    lease = ledger.lease(METER, limit=0, ends_at=2e9)
    for _ in range(50):
        assert not await ledger.reserve(lease, 1, is_forced=False)
    assert len(watched.told) == 1
    clock.advance(AGAIN_S)
    lease = ledger.lease(METER, limit=100, ends_at=2e9)
    assert await ledger.reserve(lease, 1, is_forced=False)


async def test_slices_that_nobody_uses_are_given_back_and_forgotten(journal: SqliteJournal) -> None:
    clock = HandClock()
    ledger = BudgetLedger(journal, clock=clock)
    for number in range(500):
        lease = ledger.lease(f"u{number}", limit=6400, ends_at=2e9)
        assert await ledger.reserve(lease, 1, is_forced=False)
        ledger.settle(lease, 1, 1)
    clock.advance(IDLE_S)
    await ledger.give_back(idle_s=IDLE_S)
    assert len(ledger) == 0
    assert {(one.leased, one.spent) for one in await journal.query(ListMeters())} == {(1, 1)}


class Away:
    async def transact(self, commands: Any) -> Any:
        raise JournalUnavailable("away")


async def test_while_the_journal_is_away_only_what_is_forced_goes_on(journal: SqliteJournal) -> None:
    ledger = BudgetLedger(Away(), clock=SystemClock())  # type: ignore[arg-type]
    lease = ledger.lease(METER, limit=1000, ends_at=2e9)
    assert not await ledger.reserve(lease, 1, is_forced=False)
    assert await ledger.reserve(lease, 1, is_forced=True)
    ledger.settle(lease, 1, 1)
    await ledger.give_back(idle_s=0.0)
    ledger._journal = journal
    await ledger.give_back(idle_s=0.0)
    assert not await journal.query(ListMeters()), "nothing was taken, so there is no meter to give back to"


async def test_a_caller_that_leaves_takes_no_slice_with_it(journal: SqliteJournal) -> None:
    async with BudgetLedger(journal, clock=SystemClock()) as ledger:
        lease = ledger.lease(METER, limit=64_000, ends_at=2e9)
        leaving = asyncio.ensure_future(ledger.reserve(lease, 100, is_forced=False))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
    [meter] = await journal.query(ListMeters())
    assert (meter.leased, meter.spent) == (0, 0)


async def test_what_only_warns_refuses_nobody_though_others_take_what_was_granted(journal: SqliteJournal) -> None:
    clock = SystemClock()
    async with BudgetLedger(journal, clock=clock) as ledger:
        lease, calls = ledger.lease(METER, limit=1_000, ends_at=2e9), []

        async def others() -> None:
            while len(calls) < 50:
                if lease.took(30, clock.monotonic_s()):
                    ledger.settle(lease, 30, 30)
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(4):
                tasks.create_task(others())
            while len(calls) < 50:
                calls.append(await ledger.reserve(lease, 30, is_forced=True))
                ledger.settle(lease, 30, 30)
        assert all(calls)
