"""Spending on the model: reserved before each call, settled after it, stopped at once by an operator's word.

At a budget's limit: `warn` tells it, `degrade` asks the cheaper model, `queue` waits for half of the time the turn has
left, `block` refuses with SpendingStopped: then the agents' own tools answer, which costs nothing; turns that come
after it are refused where they come in (`turn_budgets.py`). Critical turns
are counted and never refused for a budget; a safety screen's answer asks no model at all. What comes from a cache or a
local model costs nothing. A call that ended without a reply after text had come counts as if all reserved was spent.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import msgspec

from ngx_agents.agents.budget_items import (
    DAY_S,
    MICRO,
    Bill,
    Bills,
    HouseBudgets,
    Item,
    Periods,
    Subject,
    bills_of,
    items_for,
    meter_of,
)
from ngx_agents.agents.token_estimate import input_tokens_of
from ngx_agents.agents.turn import TurnTask
from ngx_agents.clock import Clock
from ngx_agents.errors import SpendingStopped
from ngx_agents.state.budget_ledger import AGAIN_S, FEW, MANY, BudgetLedger, Lease
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import ModelReply, ModelRequest, Usage
from ngx_agents.vertex.prices import Prices

log = event_log("agents")
CHEAPER = "cheaper-model"
"""The flag that gives some users the cheaper model."""
REMEMBERED = 10_000
FORCED = ("warn", "degrade")
"""Actions that count what goes beyond the limit, and refuse nothing."""


class SpendingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`model` is the one that answers, `cheaper_model` the one of action degrade; without it, degrade only warns.

    `reserved_output_tokens` is what a call may write, unless the request says it; where a budget blocks or queues, the
    model is told not to write more.
    """

    model: str
    cheaper_model: str | None = None
    reserved_output_tokens: int = 4_096
    has_house_budgets: bool = True


class Spending:
    """One for the house. `purse` for each turn."""

    def __init__(
        self,
        settings: SpendingSettings,
        *,
        controls: ControlBoard,
        ledger: BudgetLedger,
        clock: Clock,
        metrics: Metrics,
        prices: Prices | None = None,
    ) -> None:
        self.settings = settings
        self.controls = controls
        self.ledger = ledger
        self.clock = clock
        self.prices = prices or Prices(clock)
        self.periods = Periods()
        self.house = HouseBudgets() if settings.has_house_budgets else None
        self._bills: dict[tuple[Owner, str], Bills] = {}
        self._warned: OrderedDict[str, None] = OrderedDict()
        controls.on_change(self._bills.clear)
        actions = metrics.counter("ngx_budget_actions_total", "Calls of the model beyond a budget's limit.", "action")
        self.actions = {name: actions.labels(name) for name in ("warn", "degrade", "queue", "block", "stop")}
        unpriced = metrics.counter("ngx_budget_unpriced_total", "Calls that a budget in USD could not count.")
        self.unpriced = unpriced.labels()

    def purse(self, task: TurnTask) -> Purse:
        return Purse(self, task)

    def bills(self, task: TurnTask, agent: str, now_s: float) -> Bills:
        """What a call is charged to, worked out once a day and anew when an operator changes something."""
        key = (task.owner, agent)
        found = self._bills.get(key)
        if found is None or found.day != int(now_s // DAY_S):
            if len(self._bills) >= REMEMBERED:
                self._bills.clear()
            items = items_for(self.controls.budgets(), self.house, task.owner, agent)
            subject = Subject(task.owner, agent, task.conversation_id, task.turn_id)
            found = self._bills[key] = bills_of(items, subject, self.periods, now_s)
        return found

    def cost_micro_usd(self, model: str, usage: Usage) -> int | None:
        """Rounded up; None for a model without a price."""
        cost_usd = self.prices.cost_usd(model, usage)
        return None if cost_usd is None else math.ceil(cost_usd * MICRO)

    def warn_once(self, item: Item, lease: Lease) -> None:
        if lease.name in self._warned:
            return
        self._warned[lease.name] = None
        if len(self._warned) > REMEMBERED:
            self._warned.popitem(last=False)
        log.warning("budget.near_limit", budget=item.name, action=item.budget.action, limit=item.limit)


Charge = tuple[Lease, int, bool]
"""What is reserved of a meter: how much, and whether it counts cost."""


class Purse:
    """What one turn spends with. Any number of its agents may reserve at once."""

    __slots__ = ("_owner", "_spending", "_task", "stops")

    def __init__(self, spending: Spending, task: TurnTask) -> None:
        self._spending = spending
        self._task = task
        self._owner = task.owner
        self.stops = spending.controls.stops

    async def reserve(self, agent: str, request: ModelRequest) -> Grant:
        """To be settled, whatever happens. Raises SpendingStopped."""
        spending = self._spending
        self._refuse_stopped(agent)
        request = self._priced_for(request)
        bills = spending.bills(self._task, agent, spending.clock.now_s())
        charges: list[Charge] = []
        if not bills.all:
            return Grant(self, agent, request, charges)
        if bills.is_bounded and request.max_output_tokens is None:
            most = spending.settings.reserved_output_tokens
            request = msgspec.structs.replace(request, max_output_tokens=most)
        try:
            is_cheaper = await self._charge_all(bills, agent, request, charges)
        except BaseException:
            for lease, amount, _ in charges:
                spending.ledger.settle(lease, amount, 0)
            raise
        cheaper = spending.settings.cheaper_model
        if not is_cheaper or cheaper is None:
            return Grant(self, agent, request, charges)
        request = msgspec.structs.replace(request, model=cheaper)
        return Grant(self, agent, request, charges, is_degraded=True)

    async def _charge_all(self, bills: Bills, agent: str, request: ModelRequest, charges: list[Charge]) -> bool:
        """Whether a budget wants the cheaper model. What is reserved is in `charges`, also when it raises."""
        spending, is_cheaper = self._spending, False
        tokens, cost = self._amounts(request, has_cost=bills.has_cost)
        now_s = spending.clock.monotonic_s()
        for bill in bills.all:
            amount = cost if bill.item.is_cost else tokens
            if amount is None:
                spending.unpriced.inc()
                continue
            lease = spending.ledger.held(bill.meter) if bill.meter is not None else None
            if lease is None or not lease.took(amount, now_s):
                lease = await self._charge(bill, agent, amount)
            charges.append((lease, amount, bill.item.is_cost))
            if lease.leased >= bill.near_at:
                is_cheaper |= self._is_beyond(bill.item, lease)
        return is_cheaper

    def stopped_by(self, agent: str) -> str | None:
        return self._spending.controls.stopped(self._owner.tenant, agent)

    def _refuse_stopped(self, agent: str) -> None:
        stop = self.stopped_by(agent)
        if stop is not None:
            self._spending.actions["stop"].inc()
            raise SpendingStopped("the model is not asked for now", by=f"stop {stop}")

    def _priced_for(self, request: ModelRequest) -> ModelRequest:
        spending = self._spending
        cheaper = spending.settings.cheaper_model
        if cheaper is not None and request.model is None and spending.controls.is_flag_on(CHEAPER, self._owner):
            return msgspec.structs.replace(request, model=cheaper)
        return request

    def _amounts(self, request: ModelRequest, *, has_cost: bool) -> tuple[int, int | None]:
        """Tokens and millionths of a USD to reserve."""
        settings = self._spending.settings
        read, written = input_tokens_of(request), request.max_output_tokens or settings.reserved_output_tokens
        if not has_cost:
            return read + written, None
        usage = Usage(input_tokens=read, output_tokens=written)
        return read + written, self._spending.cost_micro_usd(request.model or settings.model, usage)

    async def _charge(self, bill: Bill, agent: str, amount: int) -> Lease:
        """The lease, with the amount taken from it. Raises SpendingStopped."""
        spending, budget = self._spending, bill.item.budget
        lease = self._lease(bill, agent)
        is_forced = budget.action in FORCED or self._task.turn_class == 0
        if await spending.ledger.reserve(lease, amount, is_forced=is_forced):
            return lease
        spending.actions[budget.action].inc()
        if budget.action == "queue":
            waited = await self._waited(bill, agent, amount)
            if waited is not None:
                return waited
        retry_after_s = max(1.0, bill.ends_at - spending.clock.now_s())
        raise SpendingStopped("the budget is spent", by=f"budget {bill.item.name}", retry_after_s=retry_after_s)

    def _lease(self, bill: Bill, agent: str) -> Lease:
        task, scope = self._task, bill.item.budget.scope
        subject = Subject(self._owner, agent, task.conversation_id, task.turn_id)
        return self._spending.ledger.lease(
            bill.meter or meter_of(bill.item, subject, bill.period),
            limit=bill.item.limit,
            ends_at=bill.kept_until,
            share=MANY if scope in ("tenant", "agent") else FEW,
            blocks=bill.item.budget.action == "block",
        )

    async def _waited(self, bill: Bill, agent: str, amount: int) -> Lease | None:
        """The lease when there was room in time, by what the budget is by then; a removed one lets pass."""
        spending, what = self._spending, (bill.item.name, bill.item.is_cost)
        began_s = spending.clock.monotonic_s()
        until_s = began_s + (self._task.deadline_s - began_s) / 2
        while spending.clock.monotonic_s() + AGAIN_S < until_s:
            await spending.clock.sleep(AGAIN_S)
            self._refuse_stopped(agent)
            bills = spending.bills(self._task, agent, spending.clock.now_s())
            now = next((one for one in bills.all if (one.item.name, one.item.is_cost) == what), None)
            is_forced = now is None or now.item.budget.action in FORCED
            lease = self._lease(now or bill, agent)
            if await spending.ledger.reserve(lease, amount, is_forced=is_forced):
                return lease
        return None

    def _is_beyond(self, item: Item, lease: Lease) -> bool:
        """Of a meter that is near its limit or beyond: whether the cheaper model is to be asked because of it."""
        self._spending.warn_once(item, lease)
        action = item.budget.action
        if not lease.is_over or action not in ("warn", "degrade"):
            return False
        self._spending.actions[action].inc()
        return action == "degrade"

    def settle(self, charges: list[Charge], reply: ModelReply | None, *, is_begun: bool) -> None:
        """`reply` None: there is none; `is_begun` whether text had come by then."""
        spending = self._spending
        tokens, cost = 0, None
        if reply is not None and reply.source == "model":
            usage = reply.usage
            tokens = usage.input_tokens + usage.output_tokens + usage.thought_tokens
            if any(is_cost for _, _, is_cost in charges):
                cost = spending.cost_micro_usd(reply.model, usage)
        for lease, amount, is_cost in charges:
            spent = (cost or 0) if is_cost else tokens
            spending.ledger.settle(lease, amount, amount if reply is None and is_begun else spent)


class Grant:
    """One call may be made: `request` as it is to be sent. `is_degraded`: a budget chose the cheaper model."""

    __slots__ = ("_agent", "_charges", "_purse", "_stops", "is_degraded", "request")

    def __init__(
        self,
        purse: Purse,
        agent: str,
        request: ModelRequest,
        charges: list[Charge],
        *,
        is_degraded: bool = False,
    ) -> None:
        self._purse = purse
        self._agent = agent
        self._stops = purse.stops
        self._charges = charges
        self.request = request
        self.is_degraded = is_degraded

    def refuse_stopped(self) -> None:
        """Raises SpendingStopped when it was stopped while the call runs."""
        if self._stops and (stop := self._purse.stopped_by(self._agent)) is not None:
            raise SpendingStopped("the model is not asked any more", by=f"stop {stop}")

    def settle(self, reply: ModelReply | None, *, is_begun: bool) -> None:
        """Once, at the end of the call."""
        charges, self._charges = self._charges, []
        if charges:
            self._purse.settle(charges, reply, is_begun=is_begun)
