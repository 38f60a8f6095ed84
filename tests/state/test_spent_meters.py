"""What an instance knows of meters that are spent: its own at once, the others' soon, and all of it while cut off."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.memory_journal import opened
from tests.state.watched_journal import WatchedJournal

from ngx_agents.clock import SystemClock
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.spent_meters import EVERY_S, MAX_KNOWN, SpentMeters

NAME, LIMIT = "b/2026-11/tokens/acme", 100


@pytest.fixture
async def journal() -> AsyncIterator[WatchedJournal]:
    async with opened(WatchedJournal()) as made:
        yield made


def ledger_on(journal: WatchedJournal) -> BudgetLedger:
    made = BudgetLedger(journal, clock=SystemClock())
    made.spent.prefixes = lambda: ("b/",)
    return made


async def spend(ledger: BudgetLedger, amount: int, *, limit: int = LIMIT) -> bool:
    lease = ledger.lease(NAME, limit=limit, ends_at=2e9, blocks=True)
    is_granted = await ledger.reserve(lease, amount, is_forced=False)
    if is_granted:
        ledger.settle(lease, amount, amount)
    return is_granted


async def test_who_spends_the_last_knows_it_at_once_and_the_others_after_a_look(journal: WatchedJournal) -> None:
    here, there = ledger_on(journal), ledger_on(journal)
    assert await spend(here, 60)
    assert not here.is_spent(NAME, LIMIT)
    assert await spend(here, 60)
    assert (here.is_spent(NAME, LIMIT), there.is_spent(NAME, LIMIT)) == (True, False)
    await there.spent.refresh()
    assert there.is_spent(NAME, LIMIT)
    assert not there.is_spent(NAME, 500), "an operator raised it"
    async with ledger_on(journal) as late:
        assert late.is_spent(NAME, LIMIT), "one that starts now knows before it is asked"


async def test_while_a_slice_lasts_its_holder_lets_in_and_what_is_given_back_lets_in_everybody(
    journal: WatchedJournal,
) -> None:
    here, there = ledger_on(journal), ledger_on(journal)
    lease = here.lease(NAME, limit=LIMIT, ends_at=2e9, blocks=True)
    assert await here.reserve(lease, 120, is_forced=False)
    here.settle(lease, 120, 50)
    assert await spend(here, 30)
    await there.spent.refresh()
    assert (here.is_spent(NAME, LIMIT), there.is_spent(NAME, LIMIT)) == (False, True)
    assert not await spend(here, 41)
    assert here.is_spent(NAME, LIMIT), "what is left is less than what was wanted last"
    await here.give_back(idle_s=0.0)
    for ledger in (here, there):
        await ledger.spent.refresh()
        assert not ledger.is_spent(NAME, LIMIT)


async def test_what_is_known_holds_while_the_journal_is_away_and_nothing_is_asked_without_budgets(
    journal: WatchedJournal,
) -> None:
    here = ledger_on(journal)
    assert await spend(here, 120)
    journal.is_away = True
    await here.spent.refresh()
    assert here.is_spent(NAME, LIMIT)
    idle = SpentMeters(journal, clock=SystemClock())
    await idle.refresh()
    assert len(idle) == 0
    assert EVERY_S < 5.0


async def test_what_is_known_is_bounded(journal: WatchedJournal) -> None:
    known = SpentMeters(journal, clock=SystemClock())
    for number in range(MAX_KNOWN + 5):
        known.found(f"b/{number}", 1)
    assert len(known) == MAX_KNOWN
