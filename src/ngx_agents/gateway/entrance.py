"""The one way in for whatever starts a turn: HTTP turns, OpenAI calls, A2A messages, MCP calls, batches, schedules.

`enter` refuses at the start and stores nothing, or gives a ticket. Whoever got one leaves it with the turn
(`TurnRequest.ticket`), which settles what it spent and gives it back when it ends; a caller that raises before the
turn has taken it gives it back by leaving its `with`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

import msgspec

from ngx_agents.agents.turn_budgets import TurnBudgets
from ngx_agents.errors import BudgetSpent, DeadlineExceeded, Overloaded, ReadOnly, ShareExceeded
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.principal import Principal
from ngx_agents.resilience.admission import Decision, Gate, Holding, Refusal
from ngx_agents.resilience.admission_line import AGE_S, Asker, Entry
from ngx_agents.resilience.fairness import cost_of
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.settings import BATCH_CLASS

READ_ONLY = "history is served, new turns are refused for now"
BUSY = "more is asked than can be answered now"
SHARE = "your share of what can be answered now is used up"


def _never() -> bool:
    return False


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What budgets look at: the agent that is asked by name, the conversation where there is one already, and whether
    the message is answered by the safety screen alone, which no budget keeps from anybody."""

    agent: str | None = None
    conversation_id: str | None = None
    is_emergency: Callable[[], bool] = _never


ANYTHING = About()


class Ticket:
    """One turn may start. `with ticket:` gives it back when the block raises; the turn does so at its end."""

    __slots__ = ("_gate", "_holding", "_on_release", "_on_spent", "_waited_s", "told")

    def __init__(self, gate: Gate, holding: Holding, waited_s: float = 0.0) -> None:
        self._waited_s = waited_s
        self._gate = gate
        self._holding = holding
        self._on_release: list[Callable[[], None]] = []
        self._on_spent: list[Callable[[int, int], None]] = []
        self.told: tuple[tuple[bytes, bytes], ...] = ()
        """Header fields for the answer: how the limits stand."""

    def on_release(self, act: Callable[[], None]) -> None:
        """`act` is called once, when the turn has ended or never began."""
        self._on_release.append(act)

    def on_spent(self, act: Callable[[int, int], None]) -> None:
        """`act(input_tokens, output_tokens)` is called before the release, with what the turn used of the model."""
        self._on_spent.append(act)

    @property
    def behind_s(self) -> float:
        """Where lanes wait in the journal, those of a noisy tenant wait as long as the next class."""
        return AGE_S if self._gate.crowds_others(self._holding.asker.tenant) else 0.0

    def left_s(self, within_s: float | None) -> float | None:
        """What is left of the time that the caller gave, after the wait to be let in."""
        return None if within_s is None else max(0.001, within_s - self._waited_s)

    def weigh(self, calls: int) -> None:
        """The turn makes so many calls at once now, at least one."""
        if calls != self._holding.weight and self._holding.is_open:
            self._gate.reweigh(self._holding, float(max(1, calls)))

    def spent(self, *, input_tokens: int, output_tokens: int) -> None:
        self._gate.spent(self._holding, cost_of(input_tokens, output_tokens))
        for act in self._on_spent:
            act(input_tokens, output_tokens)
        self._on_spent.clear()

    def release(self) -> None:
        """Gives it back; again is nothing."""
        self._gate.give_back(self._holding)
        acts, self._on_release = self._on_release, []
        for act in acts:
            act()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.release()


class Entrance:
    """Order: mode, budgets, the plan's limits, then admission. Without `limits` nothing is counted; without `budgets`
    nothing is spent."""

    def __init__(
        self,
        modes: Modes,
        gate: Gate,
        *,
        metrics: Metrics,
        limits: Limits | None = None,
        budgets: TurnBudgets | None = None,
    ) -> None:
        self._limits = limits
        self._budgets = budgets
        self._modes = modes
        self._gate = gate
        refused = metrics.counter(
            "ngx_admission_refused_total", "Turns refused at the entrance, by why.", "why", "class"
        )
        self._refused = {
            (why, turn_class): refused.labels(why, str(turn_class))
            for why in ("full", "late", "displaced", "level", "share", "mode", "budget")
            for turn_class in range(4)
        }
        self._waited = metrics.histogram(
            "ngx_admission_wait_seconds", "Waits before the gate, turns that had to wait and were let in."
        ).labels()

    async def greet(self, principal: Principal, *, is_for_suspended: bool = False) -> None:
        """Any request of a user, before it is looked at. Raises Forbidden (suspended), RateLimited."""
        if self._limits is not None:
            await self._limits.request(principal.owner, is_for_suspended=is_for_suspended)

    async def enter(
        self,
        principal: Principal,
        *,
        turn_class: int = 1,
        size_bytes: int = 0,
        within_s: float | None = None,
        about: About = ANYTHING,
    ) -> Ticket:
        """`size_bytes`: of the request's body; `within_s`: the time that the caller gives the whole turn.

        Waits a few seconds at most when all places are taken. Raises ReadOnly, BudgetSpent, RateLimited, Forbidden
        (suspended), Overloaded, ShareExceeded, DeadlineExceeded.
        """
        if self._modes.current is Mode.READ_ONLY:
            self._refused["mode", turn_class].inc()
            raise ReadOnly(READ_ONLY, retry_after_s=self._modes.retry_after_s)
        self._check_budgets(principal.owner, turn_class, about)
        if self._limits is None:
            return await self._admitted(principal, turn_class, within_s)
        taken = await self._limits.take(principal.owner, size_bytes, is_batch=turn_class == BATCH_CLASS)
        try:
            ticket = await self._admitted(principal, turn_class, within_s)
        except BaseException:
            taken.undo()
            raise
        ticket.told = taken.told
        ticket.on_release(taken.free)
        return ticket

    def _check_budgets(self, owner: Owner, turn_class: int, about: About) -> None:
        if self._budgets is None:
            return
        try:
            self._budgets.check(owner, turn_class=turn_class, agent=about.agent, conversation_id=about.conversation_id)
        except BudgetSpent:
            if about.is_emergency():
                return
            self._refused["budget", turn_class].inc()
            raise

    async def _admitted(self, principal: Principal, turn_class: int, within_s: float | None) -> Ticket:
        owner = principal.owner
        asker = Asker(turn_class=turn_class, tenant=owner.tenant, user=owner.user)
        waiting: asyncio.Future[Decision] = asyncio.get_running_loop().create_future()
        answer = self._gate.ask(asker, waiting.set_result)
        if isinstance(answer, Entry):
            return await self._wait(answer, waiting, within_s)
        return self._decided(answer, asker)

    def _decided(self, decision: Decision, asker: Asker, waited_s: float = 0.0) -> Ticket:
        if isinstance(decision, Refusal):
            raise self._refusal(decision, asker)
        return Ticket(self._gate, decision, waited_s)

    async def _wait(self, entry: Entry, waiting: asyncio.Future[Decision], within_s: float | None) -> Ticket:
        """Who leaves meanwhile gives back what was granted in that moment."""
        try:
            async with asyncio.timeout(within_s):
                decision = await asyncio.shield(waiting)
        except (asyncio.CancelledError, TimeoutError) as exc:
            if not self._gate.leave(entry) and waiting.done() and isinstance(holding := waiting.result(), Holding):
                self._gate.give_back(holding)
            if isinstance(exc, TimeoutError):
                raise DeadlineExceeded("the time given was up before the turn could begin") from exc
            raise
        if isinstance(decision, Refusal):
            return self._decided(decision, entry.asker)
        waited_s = decision.since_s - entry.since_s
        self._waited.observe(waited_s)
        return self._decided(decision, entry.asker, waited_s)

    def _refusal(self, refusal: Refusal, asker: Asker) -> Overloaded | ShareExceeded:
        self._refused[refusal.why, asker.turn_class].inc()
        if refusal.why == "share" or self._gate.crowds_others(asker.tenant):
            return ShareExceeded(SHARE, retry_after_s=refusal.retry_after_s)
        return Overloaded(BUSY, retry_after_s=refusal.retry_after_s)
