"""A runaway tree of agents over several instances, each call charged to several budgets: what they spend together."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from ngx_agents.agents.spending import Spending, SpendingSettings
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import SpendingStopped
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.commands import ListMeters, PutControl
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, Text, Usage
from ngx_agents.vertex.prices import Price, Prices
from tests.agents.turns import a_task

MODEL, OUTPUT, AGENTS = "gemini-3.8-flash", 400, ("one", "two", "three")
SAID = Content(role="user", parts=(Text(text="x" * 300),))
REQUEST = ModelRequest(system="", contents=(SAID,), deadline_s=0.0, max_output_tokens=OUTPUT)
RESERVED = 101 + OUTPUT
BUDGETS = {
    "tenant": {"scope": "tenant", "tokens": 30_000, "action": "block"},
    "user": {"scope": "user", "period": "day", "cost_usd": 0.05, "action": "block"},
    "agent": {"scope": "agent", "tokens": 20_000, "action": "block"},
    "turn": {"scope": "turn", "period": "total", "tokens": 25_000, "action": "block"},
}


async def instance(journal: MemoryJournal) -> Spending:
    clock, metrics = SystemClock(), Metrics()
    controls = ControlBoard(journal, clock=clock, metrics=metrics)
    await controls.refresh()
    return Spending(
        SpendingSettings(model=MODEL, has_house_budgets=False),
        controls=controls,
        ledger=BudgetLedger(journal, clock=clock),
        clock=clock,
        metrics=metrics,
        prices=Prices(clock, {MODEL: (Price(input_usd=1.0, output_usd=2.0),)}),
    )


class Tree:
    def __init__(self, instances: list[Spending], rng: Rng) -> None:
        self.instances, self.rng = instances, rng
        self.tokens = dict.fromkeys(AGENTS, 0)
        self.cost_micro_usd = self.refused = 0

    async def run(self, depth: int) -> None:
        spending = self.instances[int(self.rng.random() * len(self.instances))]
        agent = AGENTS[int(self.rng.random() * len(AGENTS))]
        try:
            grant = await spending.purse(a_task("x")).reserve(agent, REQUEST)
        except SpendingStopped:
            self.refused += 1
            return
        await asyncio.sleep(0)
        reply = self.reply()
        grant.settle(reply, is_begun=reply is not None)
        if reply is not None:
            self.tokens[agent] += reply.usage.input_tokens + reply.usage.output_tokens
            self.cost_micro_usd += reply.usage.input_tokens + 2 * reply.usage.output_tokens
        if depth:
            await asyncio.gather(*(self.run(depth - 1) for _ in range(3)))

    def reply(self) -> ModelReply | None:
        if self.rng.random() < 0.1:
            return None
        usage = Usage(input_tokens=int(self.rng.random() * 102), output_tokens=int(self.rng.random() * (OUTPUT + 1)))
        return ModelReply(
            content=SAID, finish_reason="stop", usage=usage, model=MODEL, location="", provider="vertex"
        )  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
async def test_no_budget_is_overspent_by_more_than_one_reservation(seed: int) -> None:
    journal = MemoryJournal()
    await journal.open()
    try:
        await journal.migrate()
        told: list[Any] = [
            PutControl(kind="budget", id=name, body=json.dumps(body).encode(), now=1.0)
            for name, body in BUDGETS.items()
        ]
        await journal.transact(told)
        tree = Tree([await instance(journal) for _ in range(1 + seed % 4)], Rng(seed))
        while tree.refused < 20:
            await tree.run(4)
        for spending in tree.instances:
            await spending.ledger.give_back(idle_s=0.0)
        meters = {one.name: one for one in await journal.query(ListMeters())}
    finally:
        await journal.close()
    assert sum(tree.tokens.values()) < 25_000 + RESERVED
    assert max(tree.tokens.values()) < 20_000 + RESERVED
    assert tree.cost_micro_usd < 50_000 + 101 + 2 * OUTPUT
    for meter in meters.values():
        assert meter.leased == meter.spent, "all that was not spent was given back, also of refused calls"
    assert sum(one.spent for name, one in meters.items() if name.startswith("agent/")) == sum(tree.tokens.values())
