"""Whether a turn may begin, by the budgets that block."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ngx_agents.agents.spending import Spending, SpendingSettings
from ngx_agents.agents.turn_budgets import TurnBudgets
from ngx_agents.clock import SystemClock
from ngx_agents.errors import BudgetSpent
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.commands import PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.prices import Price, Prices
from tests.memory_journal import opened

ANA, BEN, EVE = Owner("acme", "ana"), Owner("acme", "ben"), Owner("other", "ana")
COACH, TRACKER = "elite_training_strategist", "progress_tracker"


class House:
    """Budgets of operators, and a ledger that can be spent from."""

    def __init__(self, journal: MemoryJournal, *, has_house_budgets: bool = False) -> None:
        self.clock, metrics = SystemClock(), Metrics()
        self.journal = journal
        self.controls = ControlBoard(journal, clock=self.clock, metrics=metrics)
        self.ledger = BudgetLedger(journal, clock=self.clock)
        self.spending = Spending(
            SpendingSettings(model="m", has_house_budgets=has_house_budgets),
            controls=self.controls,
            ledger=self.ledger,
            clock=self.clock,
            metrics=metrics,
            prices=Prices(self.clock, {"m": (Price(input_usd=1.0, output_usd=1.0),)}),
        )
        self.budgets = TurnBudgets(self.spending)

    async def put(self, name: str, **body: Any) -> None:
        told = json.dumps({"action": "block"} | body).encode()
        await self.journal.transact([PutControl(kind="budget", id=name, body=told, now=1.0)])
        await self.controls.refresh()

    async def spend(self, meter: str, amount: int, limit: int) -> None:
        lease = self.ledger.lease(meter, limit=limit, ends_at=2e9, blocks=True)
        assert await self.ledger.reserve(lease, amount, is_forced=True)
        self.ledger.settle(lease, amount, amount)

    def refused(self, owner: Owner, **more: Any) -> BudgetSpent | None:
        try:
            self.budgets.check(owner, **more)
        except BudgetSpent as error:
            return error
        return None

    def period(self, name: Any) -> tuple[str, float]:
        return self.spending.periods.now(name, self.clock.now_s())


@pytest.fixture
async def journal() -> AsyncIterator[MemoryJournal]:
    async with opened(MemoryJournal()) as made:
        yield made


@pytest.fixture
async def house(journal: MemoryJournal) -> House:
    return House(journal)


async def test_a_spent_budget_keeps_out_those_it_concerns_until_its_period_ends(house: House) -> None:
    await house.put("acme-day", scope="tenant", of="acme", period="day", tokens=100)
    period, ends_at = house.period("day")
    assert house.refused(ANA) is None
    await house.spend(f"acme-day/{period}/tokens/acme", 99, 100)
    assert house.refused(ANA) is None
    await house.spend(f"acme-day/{period}/tokens/acme", 1, 100)
    refused = house.refused(ANA)
    assert refused is not None
    assert (refused.code, refused.by, refused.quota) == ("budget_spent", "acme-day", "budget")
    assert refused.retry_after_s == pytest.approx(ends_at - house.clock.now_s(), abs=5)
    assert "acme-day" not in str(refused), "its name is the operators'"
    assert house.refused(BEN) is not None
    assert house.refused(EVE) is None
    assert house.refused(ANA, turn_class=0) is None, "critical turns are never refused for a budget"
    await house.put("acme-day", scope="tenant", of="acme", period="day", tokens=1000)
    assert house.refused(ANA) is None


@pytest.mark.parametrize("action", ["warn", "degrade", "queue"])
async def test_other_actions_keep_nobody_out(house: House, action: str) -> None:
    await house.put("b", scope="user", tokens=0, action=action)
    assert house.refused(ANA) is None
    assert list(house.budgets.prefixes()) == []


async def test_where_waiting_does_not_help_no_time_is_told(house: House) -> None:
    await house.put("nothing", scope="user", of="acme/ana", tokens=0)
    await house.put("once", scope="user", of="acme/ben", period="total", tokens=10)
    await house.spend("once/total/tokens/acme/ben", 10, 10)
    for owner in (ANA, BEN):
        refused = house.refused(owner)
        assert refused is not None
        assert refused.retry_after_s is None


async def test_users_conversations_and_agents_that_are_named_have_their_own(house: House) -> None:
    month, _ = house.period("month")
    await house.put("u", scope="user", tokens=10)
    await house.put("c", scope="conversation", tokens=10)
    await house.put("a", scope="agent", tokens=10)
    await house.spend(f"u/{month}/tokens/acme/ben", 10, 10)
    await house.spend(f"c/{month}/tokens/c_1", 10, 10)
    await house.spend(f"a/{month}/tokens/acme/{COACH}", 10, 10)
    assert house.refused(BEN) is not None
    assert house.refused(ANA) is None
    assert house.refused(ANA, conversation_id="c_1") is not None
    assert house.refused(ANA, conversation_id="c_2", agent=TRACKER) is None
    assert house.refused(ANA, agent=COACH) is not None
    assert house.refused(EVE, agent=COACH) is None, "each tenant's agent has its own"


async def test_a_turns_own_budget_keeps_out_only_when_it_is_nothing(house: House) -> None:
    await house.put("t", scope="turn", tokens=10)
    assert house.refused(ANA) is None
    await house.put("t", scope="turn", tokens=0)
    assert house.refused(ANA) is not None


async def test_a_budget_in_usd_keeps_out_unless_the_model_has_no_price(house: House) -> None:
    await house.put("usd", scope="tenant", cost_usd=1.0)
    month, _ = house.period("month")
    await house.spend(f"usd/{month}/cost/acme", 1_000_000, 1_000_000)
    assert house.refused(ANA) is not None
    house.spending.prices = Prices(house.clock, {})
    unpriced = TurnBudgets(house.spending)
    unpriced.check(ANA)


async def test_the_houses_own_budgets_keep_out_who_names_the_agent(journal: MemoryJournal) -> None:
    house, month = House(journal, has_house_budgets=True), None
    month, _ = house.period("month")
    assert f"house.security_compliance_guardian/{month}/tokens/" in house.budgets.prefixes()
    meter = f"house.security_compliance_guardian/{month}/tokens/acme/security_compliance_guardian"
    await house.spend(meter, 500_000, 500_000)
    assert house.refused(ANA, agent="security_compliance_guardian") is not None
    assert house.refused(ANA) is None, "whom it will ask is not known yet"
    await house.put("house.security_compliance_guardian", scope="agent", tokens=1, action="warn")
    assert house.refused(ANA, agent="security_compliance_guardian") is None
