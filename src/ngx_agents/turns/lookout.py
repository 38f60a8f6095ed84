"""Looking again and again for work that nobody waits for: what batches and schedules have in common.

An owner whom the entrance refuses is not asked for again before the time it told. From mode degraded 1 on, and while
the instance drains, nothing is begun (`is_held`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import BudgetSpent, NgxError, RateLimited, Unavailable
from ngx_agents.resilience.modes import Mode, Modes
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnTicket

Enter = Callable[[Owner, int], Awaitable[TurnTicket]]
"""The entrance, for a turn of the owner's and of a class. Raises the NgxError that keeps it out."""
REFUSED_S = 60.0
"""How long an owner waits who was refused without a time."""
log = event_log("turns")


def put_off_s(refused: NgxError, otherwise_s: float = REFUSED_S) -> float:
    """How long not to ask again. Who has too many turns at once has room as soon as one of them has ended; a budget may
    be raised long before its period ends."""
    if isinstance(refused, RateLimited) and refused.quota == "running":
        return 0.0
    told_s = refused.retry_after_s if isinstance(refused, RateLimited | Unavailable) else None
    if told_s is None:
        return otherwise_s
    return min(told_s, otherwise_s) if isinstance(refused, BudgetSpent) else told_s


class Lookout:
    """`work` names what is looked for in the log."""

    def __init__(self, work: str, *, engine: TurnEngine, modes: Modes, enter: Enter, clock: Clock, rng: Rng) -> None:
        self._work = work
        self._engine = engine
        self._modes = modes
        self._enter = enter
        self._clock = clock
        self._rng = rng
        self._later_s: dict[Owner, float] = {}

    @property
    def is_held(self) -> bool:
        return self._modes.at_least(Mode.DEGRADED_1) or self._engine.is_draining

    async def run(
        self,
        look: Callable[[], Awaitable[float]],
        wait: Callable[[float], Awaitable[None]],
        *,
        failed_s: float,
    ) -> None:
        """Until it is cancelled. `look` gives the seconds to the next, `wait` waits them, never in step with others.

        After a look that the journal did not answer they are `failed_s`.
        """
        while True:
            try:
                delay_s = await look()
            except NgxError as error:
                log.warning("later.not_looked_for", work=self._work, code=error.code)
                delay_s = failed_s
            await wait(delay_s * self._rng.uniform(0.5, 1.0))

    def begin_look(self) -> None:
        """Forgets whose time has come, so that nobody is remembered for longer than they are refused."""
        now_s = self._clock.monotonic_s()
        self._later_s = {owner: at_s for owner, at_s in self._later_s.items() if at_s > now_s}

    def is_put_off(self, owner: Owner) -> bool:
        return owner in self._later_s

    def put_off(self, owner: Owner, for_s: float) -> None:
        self._later_s[owner] = self._clock.monotonic_s() + for_s

    async def ticket(self, owner: Owner, turn_class: int) -> TurnTicket | None:
        """None when the entrance refuses, which puts the owner off."""
        try:
            return await self._enter(owner, turn_class)
        except NgxError as refused:
            self.put_off(owner, put_off_s(refused))
            return None
