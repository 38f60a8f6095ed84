"""`governance`: what plans, budgets, flags and keys add to a turn: limits at the entrance, alone and shared, a call
reserved and settled, a flag, a known key, a wrong key; and all that lets a turn in together, with the gate. CPU of this
process only; every figure is the median of several rounds. Also by itself: `python -m benchmarks.governance`.
"""

from __future__ import annotations

import json
import sys

import uvloop

from benchmarks.effort import QUICK, Effort
from benchmarks.report import Line, Outcome, save, table
from benchmarks.rounds import Rounds
from ngx_agents.agents.spending import CHEAPER, Spending, SpendingSettings
from ngx_agents.agents.turn import TurnTask
from ngx_agents.agents.turn_budgets import TurnBudgets
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.errors import RateLimited, Unauthenticated
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.entrance import About, Entrance
from ngx_agents.gateway.key_ring import KeyRing
from ngx_agents.gateway.limits import Limits
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.resilience.admission import Gate, GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.budget_ledger import BudgetLedger
from ngx_agents.state.commands import ApiKey, PutControl, PutKey
from ngx_agents.state.control_board import ControlBoard
from ngx_agents.state.key_uses import KeyUses
from ngx_agents.state.model import Owner, Profile
from ngx_agents.state.sqlite_memory import MemoryJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, Text, Usage

ROUNDS, TIMES, USERS = 7, 10_000, 5_000
PLACES = 100.0
MODEL = "gemini-3.8-flash"
CONTROLS = (
    (
        "plan",
        "default",
        {"requests_per_minute": 10**9, "turns_per_minute": 10**6, "turns_per_hour": 10**7, "turns_per_day": 10**8},
    ),
    ("flag", CHEAPER, {"share_percent": 10}),
    (
        "budget",
        "house.progress_tracker",
        {"scope": "agent", "of": "progress_tracker", "tokens": 2**49, "action": "degrade"},
    ),
    ("budget", "tenant-month", {"scope": "tenant", "tokens": 2**49, "cost_usd": 1e8, "action": "block"}),
)


def governance(effort: Effort) -> Outcome:
    return Outcome(name="governance", lines=uvloop.run(_lines(effort)))


async def _lines(effort: Effort) -> list[Line]:
    journal = MemoryJournal()
    await journal.open()
    try:
        await journal.migrate()
        told = [
            PutControl(kind=kind, id=name, body=json.dumps(body).encode(), now=1.0)  # type: ignore[arg-type]  # a table
            for kind, name, body in CONTROLS
        ]
        await journal.transact(told)
        bench = _Bench(journal)
        await bench.controls.refresh()
        return await bench.lines(Rounds(ROUNDS if effort.pairs > 1 else 1, effort.count(TIMES)))
    finally:
        await journal.close()


class _Bench:
    def __init__(self, journal: MemoryJournal) -> None:
        clock, metrics = SystemClock(), Metrics()
        self._journal = journal
        self._owners = [Owner("acme", f"u{number}") for number in range(USERS)]
        self.controls = ControlBoard(journal, clock=clock, metrics=metrics)
        self._limits = Limits(self.controls, clock=clock, metrics=metrics)
        self._shared = Limits(self.controls, clock=clock, metrics=metrics, shared=LocalShared(clock))
        self._spending = Spending(
            SpendingSettings(model=MODEL, cheaper_model=MODEL),
            controls=self.controls,
            ledger=BudgetLedger(journal, clock=clock),
            clock=clock,
            metrics=metrics,
        )
        settings = AuthSettings(mode="api_key")
        self._ring = KeyRing(settings, journal, clock, uses=KeyUses(journal, clock=clock))
        uses = KeyUses(journal, clock=clock)
        self._auth = Authenticator(settings, journal=journal, clock=clock, uses=uses)
        gate = Gate(
            GateRules(limit=LimitRules(capacity=PLACES)), clock=clock, rng=Rng(1), fairness=Fairness(clock=clock)
        )
        self._budgets = TurnBudgets(self._spending)
        self._entrance = Entrance(Modes(clock=clock), gate, metrics=metrics, limits=self._limits, budgets=self._budgets)
        self._headers: list[dict[bytes, bytes]] = []
        self._task = TurnTask(
            turn_id="t_1",
            conversation_id="c_1",
            owner=self._owners[0],
            text="",
            history=(),
            profile=Profile(),
            deadline_s=clock.monotonic_s() + 3600,
            now=clock.now_s(),
        )
        said = tuple(Content(role="user", parts=(Text(text="x" * 400),)) for _ in range(10))
        self._request = ModelRequest(system="y" * 2000, contents=said, deadline_s=0.0, max_output_tokens=1000)
        self._reply = ModelReply(
            content=said[0],
            finish_reason="stop",
            usage=Usage(input_tokens=1500, output_tokens=300),
            model=MODEL,
            location="global",
            provider="vertex",
        )

    async def lines(self, rounds: Rounds) -> list[Line]:
        key = ApiKey(id="k_1", digest=b"k" * 32, owner=self._owners[0], roles=(), created_at=1.0)
        await self._journal.transact([PutKey(key=key)])
        await self._give_keys()
        return [
            await rounds.one_by_one("any request of 5,000 users", self._asked),
            await rounds.one_by_one("limits of a turn, 5,000 users", self._limited, budget=10.0),
            await rounds.one_by_one("the same, counts shared", self._limited_together, budget=10.0),
            await rounds.one_by_one("a call reserved and settled, three limits and a flag", self._paid, budget=15.0),
            await rounds.one_by_one("whether a budget is spent", self._checked),
            await rounds.one_by_one("key, gate, limits and budgets of a turn of one call", self._whole, budget=45.0),
            await rounds.one_by_one("a flag", self._flagged),
            await rounds.one_by_one("a known key", self._known),
            await rounds.one_by_one("a wrong key of an address that is cut off", self._guessed),
        ]

    async def _give_keys(self) -> None:
        for number, owner in enumerate(self._owners):
            secret, digest = new_api_key()
            key = ApiKey(id=f"k_{number + 2}", digest=digest, owner=owner, roles=(), created_at=1.0)
            await self._journal.transact([PutKey(key=key)])
            self._headers.append({b"authorization": b"Bearer " + secret.encode()})

    async def _whole(self, number: int) -> None:
        """All that stands between the headers and the end of a turn, but what the turn itself does."""
        principal = await self._auth.principal(self._headers[number % USERS], "1.2.3.4")
        await self._entrance.greet(principal)
        with await self._entrance.enter(principal, size_bytes=400, about=About(conversation_id="c_1")) as ticket:
            await self._paid(number)
            ticket.spent(input_tokens=1500, output_tokens=300)
            ticket.release()

    async def _asked(self, number: int) -> None:
        await self._limits.request(self._owners[number % USERS])

    async def _checked(self, number: int) -> None:
        self._budgets.check(self._owners[number % USERS], conversation_id="c_1")

    async def _limited(self, number: int) -> None:
        (await self._limits.take(self._owners[number % USERS], 400)).free()

    async def _limited_together(self, number: int) -> None:
        (await self._shared.take(self._owners[number % USERS], 400)).free()

    async def _paid(self, number: int) -> None:
        grant = await self._spending.purse(self._task).reserve("progress_tracker", self._request)
        grant.settle(self._reply, is_begun=True)

    async def _flagged(self, number: int) -> None:
        self.controls.is_flag_on(CHEAPER, self._owners[number % USERS])

    async def _known(self, number: int) -> None:
        await self._ring.principal(b"k" * 32, "1.2.3.4")

    async def _guessed(self, number: int) -> None:
        try:
            await self._ring.principal(number.to_bytes(32, "big"), "6.6.6.6")
        except (Unauthenticated, RateLimited):
            return


if __name__ == "__main__":
    outcome = governance(QUICK if "--quick" in sys.argv else Effort())
    print(table([outcome]))
    print(save(outcome, SystemClock()), file=sys.stderr)
