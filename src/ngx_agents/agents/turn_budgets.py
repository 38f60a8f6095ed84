"""Whether a turn may begin, as far as budgets go: one that blocks keeps turns out while its meter is spent.

Known here without asking anybody (`state/spent_meters.py`). Looked at are the budgets that a turn is sure to be charged
to: its tenant's, its user's, its conversation's, and those of the agent that it names. Which agents a turn without a
name will ask is not known yet: of those whose budget is spent, the agents' own tools answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.agents.budget_items import DAY_S, Bill, Subject, bills_of, items_for, meter_of
from ngx_agents.agents.spending import REMEMBERED, Spending
from ngx_agents.errors import BudgetSpent
from ngx_agents.state.model import Owner
from ngx_agents.vertex.content import Usage

CRITICAL = 0
Known = tuple[int, tuple[Bill, ...]]
"""A day, and what can keep a turn out on it."""


class TurnBudgets:
    """One for the house, over its spending."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._known: dict[tuple[Owner, str | None], Known] = {}
        spending.controls.on_change(self._known.clear)
        spending.ledger.spent.prefixes = self.prefixes

    def check(
        self, owner: Owner, *, turn_class: int = 1, agent: str | None = None, conversation_id: str | None = None
    ) -> None:
        """Critical turns always may. Raises BudgetSpent."""
        if turn_class == CRITICAL:
            return
        for bill in self._blocking(owner, agent):
            if self._is_spent(bill, Subject(owner, agent or "", conversation_id or "", "")):
                item = bill.item
                raise BudgetSpent(item.budget.scope, by=item.name, retry_after_s=self._ends_in_s(bill))

    def prefixes(self) -> Sequence[str]:
        """What the meters begin with that may keep turns out now."""
        spending, now_s = self._spending, self._spending.clock.now_s()
        found: list[str] = []
        budgets = {**(spending.house.all() if spending.house is not None else {}), **spending.controls.budgets()}
        for name, budget in budgets.items():
            if budget.action != "block" or budget.scope == "turn":
                continue
            period, _ = spending.periods.now(budget.period, now_s)
            units = (("tokens", budget.tokens), ("cost", budget.cost_usd))
            found += [f"{name}/{period}/{unit}/" for unit, limit in units if limit is not None]
        return found

    def _blocking(self, owner: Owner, agent: str | None) -> tuple[Bill, ...]:
        """Worked out once a day for each user and agent, and anew when an operator changes something."""
        now_s = self._spending.clock.now_s()
        day, key = int(now_s // DAY_S), (owner, agent)
        found = self._known.get(key)
        if found is None or found[0] != day:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._known[key] = (day, self._worked_out(owner, agent, now_s))
        return found[1]

    def _worked_out(self, owner: Owner, agent: str | None, now_s: float) -> tuple[Bill, ...]:
        spending = self._spending
        house = spending.house if agent is not None else None
        items = items_for(spending.controls.budgets(), house, owner, agent or "")
        bills = bills_of(items, Subject(owner, agent or "", "", ""), spending.periods, now_s)
        return tuple(bill for bill in bills.all if self._concerns(bill, agent))

    def _concerns(self, bill: Bill, agent: str | None) -> bool:
        """A model without a price is not counted in USD, so it keeps nobody out."""
        item = bill.item
        if item.budget.action != "block" or (agent is None and item.budget.scope == "agent"):
            return False
        spending = self._spending
        return not item.is_cost or spending.cost_micro_usd(spending.settings.model, Usage(input_tokens=1)) is not None

    def _is_spent(self, bill: Bill, subject: Subject) -> bool:
        limit = bill.item.limit
        if limit == 0:
            return True
        meter = bill.meter or meter_of(bill.item, subject, bill.period)
        return self._spending.ledger.is_spent(meter, limit)

    def _ends_in_s(self, bill: Bill) -> float | None:
        """None where waiting does not help: a budget of nothing, or one that never begins anew."""
        if bill.item.limit == 0 or bill.item.budget.period == "total":
            return None
        return max(1.0, bill.ends_at - self._spending.clock.now_s())
