"""Which budgets a call of the model is charged to: the operators', and the house's own for each agent. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from ngx_agents.errors import ConfigError
from ngx_agents.state.controls import Budget, BudgetAction, BudgetPeriod
from ngx_agents.state.model import Owner

HOUSE_FILE = Path(__file__).parent / "team" / "budgets.toml"
MICRO = 1_000_000
DAY_S = 86_400.0
KEPT_S = 40 * DAY_S
"""How long after its end a day's or month's meter can still be looked at."""


class Item(NamedTuple):
    """One limit of one budget. `limit` is in tokens, or in millionths of a USD when `is_cost`."""

    name: str
    budget: Budget
    limit: int
    is_cost: bool


class Subject(NamedTuple):
    owner: Owner
    agent: str
    conversation_id: str
    turn_id: str


class _HouseBudget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tokens: int
    action: BudgetAction


class _HouseFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    any_other: _HouseBudget
    agents: dict[str, _HouseBudget]


class HouseBudgets:
    """The team's own monthly budget of each agent. Raises ConfigError for a broken file."""

    def __init__(self, path: Path = HOUSE_FILE) -> None:
        try:
            self._file = msgspec.toml.decode(path.read_bytes(), type=_HouseFile)
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigError(f"{path.name}: {error}") from error

    def of(self, agent: str) -> tuple[str, Budget]:
        found = self._file.agents.get(agent, self._file.any_other)
        return f"house.{agent}", self._budget(agent, found)

    def all(self) -> dict[str, Budget]:
        """Those that are named in the file."""
        return {f"house.{agent}": self._budget(agent, found) for agent, found in self._file.agents.items()}

    def _budget(self, agent: str, found: _HouseBudget) -> Budget:
        return Budget(scope="agent", of=agent, tokens=found.tokens, action=found.action)


def items_for(budgets: Mapping[str, Budget], house: HouseBudgets | None, owner: Owner, agent: str) -> tuple[Item, ...]:
    """In an order that every caller shares. An operator's budget of the same name stands in for the house's."""
    found = {name: budget for name, budget in budgets.items() if _concerns(budget, owner, agent)}
    if house is not None:
        name, budget = house.of(agent)
        if name not in budgets:
            found[name] = budget
    items = []
    for name in sorted(found):
        budget = found[name]
        if budget.tokens is not None:
            items.append(Item(name, budget, budget.tokens, False))
        if budget.cost_usd is not None:
            items.append(Item(name, budget, round(budget.cost_usd * MICRO), True))
    return tuple(items)


def _concerns(budget: Budget, owner: Owner, agent: str) -> bool:
    if budget.tenant is not None and budget.tenant != owner.tenant:
        return False
    if budget.of is None:
        return True
    if budget.scope == "user":
        return budget.of in (owner.user, f"{owner.tenant}/{owner.user}")
    return {"tenant": owner.tenant, "agent": agent}.get(budget.scope) == budget.of


def meter_of(item: Item, subject: Subject, period: str) -> str:
    """The name of the meter that counts this limit for this subject in this period."""
    unit = "cost" if item.is_cost else "tokens"
    scope, owner = item.budget.scope, subject.owner
    if scope == "tenant":
        return f"{item.name}/{period}/{unit}/{owner.tenant}"
    if scope == "conversation":
        return f"{item.name}/{period}/{unit}/{subject.conversation_id}"
    if scope == "turn":
        return f"{item.name}/{period}/{unit}/{subject.turn_id}"
    return f"{item.name}/{period}/{unit}/{owner.tenant}/{owner.user if scope == 'user' else subject.agent}"


class Bill(NamedTuple):
    """A limit as it is charged today. `meter` is None where it depends on conversation or turn; from `near_at` on it is
    told. `ends_at` is its period's end, and until `kept_until` its meter is known, both in Unix seconds."""

    item: Item
    period: str
    meter: str | None
    near_at: int
    ends_at: float
    kept_until: float


class Bills(NamedTuple):
    """All that a call of an agent for a user is charged to on one `day`. `is_bounded`: some of it blocks or queues."""

    day: int
    all: tuple[Bill, ...]
    has_cost: bool
    is_bounded: bool


def bills_of(items: tuple[Item, ...], subject: Subject, periods: Periods, now_s: float) -> Bills:
    found = []
    for item in items:
        budget = item.budget
        period, ends_at = periods.now(budget.period, now_s)
        is_lasting = budget.scope in ("tenant", "user", "agent")
        found.append(
            Bill(
                item,
                period,
                meter_of(item, subject, period) if is_lasting else None,
                int(item.limit * budget.warn_at_percent / 100),
                ends_at,
                forgotten_at(item, ends_at, now_s),
            )
        )
    return Bills(
        int(now_s // DAY_S),
        tuple(found),
        any(item.is_cost for item in items),
        any(item.budget.action in ("block", "queue") for item in items),
    )


class Periods:
    """The names and ends of the periods that are now, in UTC; worked out once a day."""

    __slots__ = ("_day", "_found")

    def __init__(self) -> None:
        self._day = -1
        self._found: dict[BudgetPeriod, tuple[str, float]] = {}

    def now(self, period: BudgetPeriod, now_s: float) -> tuple[str, float]:
        """Its name, and when it ends in Unix seconds; `total` ends a year from now."""
        day = int(now_s // DAY_S)
        if day != self._day:
            self._day = day
            today = datetime.fromtimestamp(day * DAY_S, UTC)
            next_month = (today.replace(day=1) + timedelta(days=32)).replace(day=1)
            self._found = {
                "day": (today.strftime("%Y-%m-%d"), (day + 1) * DAY_S),
                "month": (today.strftime("%Y-%m"), next_month.timestamp()),
                "total": ("total", (day + 366) * DAY_S),
            }
        return self._found[period]


def forgotten_at(item: Item, ends_at: float, now_s: float) -> float:
    """When the meter need not be known any more, Unix seconds."""
    if item.budget.scope == "turn":
        return now_s + DAY_S
    if item.budget.scope == "conversation":
        return now_s + 90 * DAY_S
    return ends_at + KEPT_S
