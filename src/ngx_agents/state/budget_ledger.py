"""What this instance holds of the budgets' meters: taken from the journal in slices, spent here, given back.

The journal is the truth: nothing is spent that was not taken from it first, so all instances together go beyond a limit
by less than one reservation, and a restart forgets nothing. A slice that is not used for `IDLE_S` is given back, all of
them at the end; a killed instance's slices stay taken, so a crash never lets more be spent, but up to a slice less.
One task gives back; everybody reserves. Two who are short of one meter ask once.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state.commands import ForgetBudgets, GiveBudget, Slice, TakeBudget
from ngx_agents.state.journal import Journal
from ngx_agents.state.spent_meters import SpentMeters
from ngx_agents.telemetry.log import event_log

log = event_log("state")
EVERY_S = 5.0
IDLE_S = 60.0
TELL_S = 30.0
"""How late the journal learns what was spent of a slice that is still in use."""
AGAIN_S = 1.0
"""How long a meter that is used up is believed to be."""
FORGET_EVERY_S = 3600.0
MANY, FEW = 64, 16
"""Slices are a 64th of what many spend together, a 16th of what one user does."""
AT_ONCE = 200


class Lease:
    """What is held of one meter. `left` may be below 0 when more was spent than reserved; `leased` is what all hold."""

    __slots__ = ("blocks", "ends_at", "is_out_until_s", "leased", "left", "limit", "lock", "name", "open", "share",
                 "spent", "told_s", "used_s", "wanted")  # fmt: skip

    def __init__(self, name: str, *, limit: int, ends_at: float, share: int, blocks: bool = False) -> None:
        self.name = name
        self.blocks = blocks
        self.share = share
        self.limit = limit
        self.ends_at = ends_at
        self.left = self.spent = self.leased = self.open = self.wanted = 0
        self.used_s = self.told_s = 0.0
        self.is_out_until_s = float("-inf")
        self.lock: asyncio.Lock | None = None

    def took(self, amount: int, now_s: float) -> bool:
        """Whether so much was left; then it is reserved, and must be settled."""
        if self.left < amount:
            return False
        self.left -= amount
        self.open += 1
        self.used_s, self.wanted = now_s, amount
        return True

    @property
    def is_over(self) -> bool:
        """Whether the limit was reached when it was last asked about."""
        return self.leased >= self.limit


class BudgetLedger:
    """Enter it to have slices given back. Leases are as many as meters were used within `IDLE_S`."""

    def __init__(self, journal: Journal, *, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._leases: dict[str, Lease] = {}
        self.spent = SpentMeters(journal, clock=clock)
        self._forgotten_s = clock.monotonic_s()
        self._tasks: asyncio.TaskGroup | None = None
        self._running: list[asyncio.Task[None]] = []

    def __len__(self) -> int:
        return len(self._leases)

    def held(self, name: str) -> Lease | None:
        return self._leases.get(name)

    def is_spent(self, name: str, limit: int) -> bool:
        """Whether a meter that blocks is taken up to its limit, and the slice here is less than was wanted last."""
        if self.spent.leased(name) < limit:
            return False
        lease = self._leases.get(name)
        return lease is None or lease.left < max(1, lease.wanted)

    def lease(self, name: str, *, limit: int, ends_at: float, share: int = MANY, blocks: bool = False) -> Lease:
        found = self._leases.get(name)
        if found is None:
            found = self._leases[name] = Lease(name, limit=limit, ends_at=ends_at, share=share)
            found.told_s = self._clock.monotonic_s()
        found.limit, found.ends_at, found.blocks = limit, ends_at, blocks
        return found

    async def reserve(self, lease: Lease, amount: int, *, is_forced: bool) -> bool:
        """Whether `amount` is reserved; then it must be settled. `is_forced`: also beyond the limit, to be counted.

        While the journal cannot be asked, only what is forced is.
        """
        lease.used_s, lease.wanted = self._clock.monotonic_s(), amount
        if lease.left < amount and not await self._take(lease, amount, is_forced=is_forced):
            return False
        if not lease.took(amount, lease.used_s):
            lease.left -= amount  # forced, and the journal away: it is owed
            lease.open += 1
        self._leases.setdefault(lease.name, lease)
        return True

    def settle(self, lease: Lease, reserved: int, spent: int) -> None:
        """What was really spent of a reservation, more or less than it."""
        lease.open -= 1
        lease.left += reserved - spent
        lease.spent += spent

    async def _take(self, lease: Lease, amount: int, *, is_forced: bool) -> bool:
        if lease.lock is None:
            lease.lock = asyncio.Lock()
        async with lease.lock:
            # what was granted may be gone before it is looked at: others take from it meanwhile
            while lease.left < amount:
                if lease.is_out_until_s > lease.used_s and not is_forced:
                    return False
                is_asked = await self._granted(lease, amount, is_forced=is_forced)
                if is_forced or not is_asked:
                    return is_forced
            return True

    async def _granted(self, lease: Lease, amount: int, *, is_forced: bool) -> bool:
        """Whether the journal answered."""
        command = TakeBudget(
            meter=lease.name,
            amount=amount - lease.left,
            slice_size=lease.limit // (FEW if is_forced and lease.is_over else lease.share),
            limit=lease.limit,
            ends_at=lease.ends_at,
            is_forced=is_forced,
            blocks=lease.blocks,
        )
        if self._tasks is None:
            return await self._ask(lease, command)
        # a caller that leaves meanwhile must not take with it what the journal grants
        return await asyncio.shield(self._tasks.create_task(self._ask(lease, command)))

    async def _ask(self, lease: Lease, command: TakeBudget) -> bool:
        """Whether the journal answered; what it granted is in the lease."""
        lease.open += 1
        try:
            [result] = await self._journal.transact([command])
            if not isinstance(result, Slice):
                raise result
        except NgxError as error:
            log.warning("budget.not_asked", code=error.code)
            return False
        finally:
            lease.open -= 1
        lease.left += result.granted
        lease.leased = result.leased
        if lease.blocks and lease.is_over:
            self.spent.found(lease.name, result.leased)
        if not result.granted:
            lease.is_out_until_s = self._clock.monotonic_s() + AGAIN_S
        return True

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        await self.spent.refresh()
        self._running = [self._tasks.create_task(self._run()), self._tasks.create_task(self.spent.run())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None:
            for task in self._running:
                task.cancel()
            await self._tasks.__aexit__(None, None, None)
        await self.give_back(idle_s=0.0)

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(EVERY_S)
            await self.give_back(idle_s=IDLE_S)
            await self._forget()

    async def give_back(self, *, idle_s: float) -> None:
        """Tells the journal what was spent, and gives back the slices of meters that nobody used for `idle_s`."""
        now_s = self._clock.monotonic_s()
        late_s = min(idle_s, TELL_S)
        due = [
            lease
            for lease in self._leases.values()
            if now_s - lease.used_s >= idle_s or (now_s - lease.told_s >= late_s and (lease.spent or lease.left < 0))
        ]
        for start in range(0, len(due), AT_ONCE):
            await self._give(due[start : start + AT_ONCE], now_s, idle_s=idle_s)

    async def _give(self, leases: list[Lease], now_s: float, *, idle_s: float) -> None:
        commands, told = [], []
        for lease in leases:
            is_idle = now_s - lease.used_s >= idle_s and not lease.open and not (lease.lock and lease.lock.locked())
            unused = lease.left if is_idle or lease.left < 0 else 0
            if is_idle:
                self._leases.pop(lease.name, None)
            if unused or lease.spent:
                commands.append(GiveBudget(meter=lease.name, spent=lease.spent, unused=unused))
                told.append((lease, lease.spent, unused))
                lease.spent, lease.left, lease.told_s = 0, lease.left - unused, now_s
        if not commands:
            return
        try:
            await self._journal.transact(commands)
        except JournalUnavailable as error:
            log.warning("budget.not_given_back", code=error.code)
            for lease, spent, unused in told:
                lease.spent, lease.left = lease.spent + spent, lease.left + unused
                self._leases.setdefault(lease.name, lease)

    async def _forget(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._forgotten_s < FORGET_EVERY_S:
            return
        self._forgotten_s = now_s
        try:
            await self._journal.transact([ForgetBudgets(before=self._clock.now_s())])
        except JournalUnavailable as error:
            log.warning("budget.not_forgotten", code=error.code)
