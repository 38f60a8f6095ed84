"""`entrance`: CPU of letting a turn in, and of refusing one while the line is full; in process, without HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from benchmarks.effort import Effort
from benchmarks.report import Line, Outcome
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import Overloaded, ShareExceeded
from ngx_agents.gateway.entrance import Entrance
from ngx_agents.gateway.principal import Principal
from ngx_agents.resilience.admission import Gate, GateRules
from ngx_agents.resilience.admission_limit import LimitRules
from ngx_agents.resilience.admission_line import Asker
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.metrics import Metrics

TURNS = 20_000
PLACES = 100.0
BUDGET_US = 40.0


def entrance(effort: Effort) -> Outcome:
    """Raises nothing: what it refuses it counts."""
    turns = effort.count(TURNS)
    lines = [
        Line(what="let in, settled, given back", measured=asyncio.run(_let_in(turns)), unit="µs"),
        *(
            Line(
                what=f"refused, {tenants} tenant{'s' * (tenants > 1)} in a full line",
                measured=asyncio.run(_refused(turns, tenants)),
                unit="µs",
                budget=BUDGET_US,
            )
            for tenants in (1, 100)
        ),
    ]
    return Outcome(name="entrance", lines=lines)


def _house() -> tuple[Entrance, Gate]:
    clock, metrics = SystemClock(), Metrics()
    rules = GateRules(limit=LimitRules(capacity=PLACES))
    gate = Gate(rules, clock=clock, rng=Rng(1), fairness=Fairness(clock=clock))
    return Entrance(Modes(clock=clock), gate, metrics=metrics), gate


async def _let_in(turns: int) -> float:
    door, _ = _house()

    async def once(number: int) -> None:
        ticket = await door.enter(_principal(number, 10))
        ticket.spent(input_tokens=500, output_tokens=100)
        ticket.release()

    return await _timed(once, turns)


async def _refused(turns: int, tenants: int) -> float:
    """The line holds callers of all tenants alike, so that every newcomer is looked at and nobody makes room."""
    door, gate = _house()
    for number in range(int(PLACES) + 300):
        owner = _principal(number, tenants).owner
        gate.ask(Asker(turn_class=1, tenant=owner.tenant, user=owner.user), lambda decision: None)

    async def once(number: int) -> None:
        try:
            await door.enter(_principal(number, tenants))
        except (Overloaded, ShareExceeded):
            return
        raise AssertionError("there was room")

    return await _timed(once, turns)


async def _timed(once: Callable[[int], Awaitable[None]], turns: int) -> float:
    """CPU of one, in µs."""
    for number in range(100):
        await once(number)
    began_s = time.process_time()
    for number in range(turns):
        await once(number)
    return 1e6 * (time.process_time() - began_s) / turns


def _principal(number: int, tenants: int) -> Principal:
    return Principal(Owner(f"t{number % tenants}", f"u{number % 5000}"))
