"""Takes inputs of batches whenever there is room for them, and ends batches of which nothing more will come.

Every instance has one and none leads: the transaction that takes inputs moves the batch on, so an input is taken once,
and what a killed instance had taken are lanes like any other. It gives way at once: for a moment after somebody else's
turn came nothing is taken, and while others are here only so many that the loop stays quick (`cap.py`). Producer: the
task of `run`; the turns run as the engine's lanes. `wake` says that there is something new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from ngx_agents.clock import Clock, Rng
from ngx_agents.resilience.modes import Modes
from ngx_agents.state.commands import Batch, Grant, OpenBatch, OpenBatches, SettleBatch, TakeItems, Taken
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batches.cap import BatchCap
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.lookout import Enter, Lookout
from ngx_agents.turns.model import TurnTicket
from ngx_agents.turns.settings import BATCH_CLASS, CLASS_TIMEOUT_S

SERVED = 1000
"""Open batches that are looked at. Those that can get nothing now stand first, so there must be room behind them."""
SETTLED_AT_ONCE = 8
PROBE_S = 0.003
log = event_log("turns")


class BatchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`share` of the places is the most that batches take. Looks are `look_s` apart while one is open, else `idle_s`.

    A batch is asked whether it has ended every `settle_s`; an entrance that takes longer than `enter_s` says no. Others
    are here while turns of theirs run, and for `attended_s` after one came.
    """

    share: float = 0.9
    look_s: float = 0.05
    idle_s: float = 1.0
    settle_s: float = 0.5
    enter_s: float = 0.1
    attended_s: float = 1.0


class BatchTaker:
    """`run` goes on until it is cancelled."""

    def __init__(  # noqa: PLR0913  # what it works with, all by name
        self,
        *,
        engine: TurnEngine,
        journal: Journal,
        modes: Modes,
        enter: Enter,
        clock: Clock,
        rng: Rng,
        metrics: Metrics,
        settings: BatchSettings | None = None,
    ) -> None:
        self._engine = engine
        self._journal = journal
        self._lookout = Lookout("batches", engine=engine, modes=modes, enter=enter, clock=clock, rng=rng)
        self._clock = clock
        self._settings = settings or BatchSettings()
        self._cap = BatchCap(places=engine.places, share=self._settings.share)
        self._was_used = False
        self._lag_s = self._ended_per_s = 0.0
        self._settled_s: dict[str, float] = {}
        self._items = metrics.counter("ngx_batch_items_total", "Inputs of batches that became turns here.").labels()
        self._ended = metrics.counter("ngx_batches_total", "Batches that ended, by status.", "status")
        self._cap_now = metrics.gauge("ngx_batch_cap", "How many turns of batches may run here now.").labels()

    def wake(self) -> None:
        """Something may be there to be taken, or to be ended."""
        self._settled_s.clear()
        self._engine.batches.eased.set()

    async def run(self) -> None:
        await self._lookout.run(self._look, self._wait, failed_s=self._settings.idle_s)

    async def _wait(self, within_s: float) -> None:
        """Until half of what may run has ended, or somebody wakes it; meanwhile looks how quick the loop is."""
        eased = self._engine.batches.eased
        self._engine.batches.low = self._cap.cap // 2
        eased.clear()
        if self._engine.batches.count:
            await self._watch(eased, within_s)
            return
        try:
            async with asyncio.timeout(within_s):
                await eased.wait()
        except TimeoutError:
            return

    async def _watch(self, eased: asyncio.Event, within_s: float) -> None:
        """Measures meanwhile how late short sleeps end on average, and how many turns of batches end."""
        began_s = now_s = self._clock.monotonic_s()
        ended = self._engine.batches.ended
        late_s, rounds = 0.0, 0
        while rounds == 0 or (not eased.is_set() and now_s - began_s < within_s):
            await self._clock.sleep(PROBE_S)
            woke_s = self._clock.monotonic_s()
            late_s += max(0.0, woke_s - now_s - PROBE_S)
            now_s, rounds = woke_s, rounds + 1
        self._lag_s = late_s / rounds
        self._ended_per_s = (self._engine.batches.ended - ended) / max(PROBE_S, now_s - began_s)

    async def _look(self) -> float:
        """Serves who waits; how long to wait before the next look."""
        if (wait_s := self._engine.batches.wait_s) > 0:
            self._was_used = False  # what ended meanwhile says nothing of how much the loop bears
            return wait_s
        found: tuple[OpenBatch, ...] = await self._journal.query(OpenBatches(now=self._clock.now_s(), limit=SERVED))
        if not found:
            self._cap.rest()
        self._lookout.begin_look()
        if not self._lookout.is_held:
            await self._serve([one for one in found if one.waiting and not self._lookout.is_put_off(one.owner)])
        for batch in self._due_to_settle(found):
            await self._settle(batch)
        return self._settings.look_s if found else self._settings.idle_s

    @property
    def _is_attended(self) -> bool:
        others = self._engine.batches
        return others.others > 0 or self._clock.monotonic_s() - others.others_s < self._settings.attended_s

    async def _serve(self, waiting: Sequence[OpenBatch]) -> None:
        """Gives each batch an equal part of the room."""
        self._cap.adapt(
            was_used=self._was_used, lag_s=self._lag_s, ended_per_s=self._ended_per_s, is_attended=self._is_attended
        )
        room = self._cap.room(used=self._engine.running, at_work=self._engine.batches.count)
        self._cap_now.set(self._cap.cap)
        left = min(room, self._cap.at_once)
        begun = 0
        for position, batch in enumerate(waiting):
            if left <= begun:
                break
            part = -(-(left - begun) // (len(waiting) - position))
            begun += await self._take(batch, min(part, batch.waiting))
        self._was_used = bool(waiting) and begun >= room

    async def _take(self, batch: OpenBatch, limit: int) -> int:
        tickets = await self._tickets(batch.owner, limit)
        if not tickets:
            return 0

        async def take(room: int) -> Sequence[Grant]:
            command = TakeItems(
                batch_id=batch.id, owner=batch.owner, instance=self._engine.instance, limit=room,
                now=self._clock.now_s(), timeout_s=CLASS_TIMEOUT_S[BATCH_CLASS],
            )  # fmt: skip
            [result] = await self._journal.transact([command])
            if isinstance(result, BaseException):
                raise result
            taken: Taken = result
            return taken.grants

        began = await self._engine.begin_granted(tickets, take)
        self._items.inc(began)
        return began

    async def _tickets(self, owner: Owner, limit: int) -> list[TurnTicket]:
        """As many as the entrance gives now; who is refused is not asked for again before the time it was told."""
        tickets: list[TurnTicket] = []
        try:
            async with asyncio.timeout(self._settings.enter_s):
                while len(tickets) < limit and (ticket := await self._lookout.ticket(owner, BATCH_CLASS)) is not None:
                    tickets.append(ticket)
        except TimeoutError:
            self._lookout.put_off(owner, self._settings.look_s)
        return tickets

    def _due_to_settle(self, found: Sequence[OpenBatch]) -> list[OpenBatch]:
        """A few of those of which nothing is left to take, asked longest ago first; sooner when none runs here."""
        now_s, asked_s = self._clock.monotonic_s(), self._settled_s
        gap_s = self._settings.settle_s if self._engine.batches.count else self._settings.look_s
        ended = [batch for batch in found if not batch.waiting]
        self._settled_s = {batch.id: asked_s[batch.id] for batch in ended if batch.id in asked_s}
        due = [batch for batch in ended if now_s - asked_s.get(batch.id, float("-inf")) >= gap_s]
        due.sort(key=lambda batch: asked_s.get(batch.id, float("-inf")))
        return due[:SETTLED_AT_ONCE]

    async def _settle(self, batch: OpenBatch) -> None:
        self._settled_s[batch.id] = self._clock.monotonic_s()
        command = SettleBatch(batch_id=batch.id, owner=batch.owner, now=self._clock.now_s())
        [ended] = await self._journal.transact([command])
        if isinstance(ended, BaseException):
            raise ended
        if isinstance(ended, Batch):
            self._ended.labels(ended.status).inc()
            log.info("batch.ended", batch_id=ended.id, status=ended.status, inputs=ended.counts.total)
