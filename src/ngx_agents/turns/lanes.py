"""The lanes at work: one task per busy conversation, running its turns one after the other.

A place in `max_running` is taken before a lane is granted with an acceptance, and given back when its task ends. The
claimer looks at least every `claim_every_s` for lanes that nobody runs: left by another incarnation, or accepted when
there was no place; it asks for as many as there are places (what is accepted meanwhile may add a few). When all are
taken, a lane gives its place back after each turn, so that the most urgent waiting lane gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from ngx_agents.clock import Rng
from ngx_agents.errors import NgxError
from ngx_agents.state.commands import GetTurn, Grant, HeldLane, HeldLanes, HolderOf, ReleaseLane
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.batch_places import BatchPlaces
from ngx_agents.turns.hints import Hints
from ngx_agents.turns.lease import Lease
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.model import TurnTicket
from ngx_agents.turns.registry import TurnRegistry
from ngx_agents.turns.runner import TurnRunner
from ngx_agents.turns.settings import BATCH_CLASS, TurnSettings

log = event_log("turns")
LOOK_S = 0.1
LEAST_LOOK_S = 0.05
RELEASE_S = 2.0  # what giving lanes back may take before the rest is left to the lease


class Lanes:
    """The `lease`'s instance holds the lanes. `start` and `stop` frame everything else."""

    def __init__(  # noqa: PLR0913  # what the engine made, all by name
        self,
        *,
        runner: TurnRunner,
        turns: TurnRegistry,
        metrics: Metrics,
        settings: TurnSettings,
        lease: Lease,
        hints: Hints,
        rng: Rng,
        batches: BatchPlaces,
    ) -> None:
        self.count = 0
        self.draining = False
        self.is_over = False  # nothing runs here any more, nor will
        self._drain_until_s: float | None = None
        self._journal = turns.journal
        self._runner = runner
        self._turns = turns
        self._clock = turns.clock
        self._settings = settings
        self._lease = lease
        self._hints = hints
        self._rng = rng
        self._look_s = LEAST_LOOK_S
        self._asking: set[object] = set()
        self._instance = lease.instance
        self.tasks = asyncio.TaskGroup()
        self._loops: list[asyncio.Task[None]] = []
        self._freed = asyncio.Event()
        self._claim_is_due = asyncio.Event()
        self.batches = batches
        self._running = metrics.gauge("ngx_turns_running", "Lanes at work.").labels()

    async def start(self) -> None:
        """Raises JournalUnavailable."""
        await self._lease.take()
        await self.tasks.__aenter__()
        loops = [self._lease.keep(), self._heartbeat(), self._settle_forgotten()]
        if self._settings.runs_turns:
            loops.append(self._claim())
            if self._hints.are_heard:
                loops.append(self._hints.hear(self._hint))
        self._loops = [self.tasks.create_task(loop) for loop in loops]

    async def hand_over(self) -> None:
        """Drains, then ends what still runs: its lanes are given back, its listeners are sent elsewhere."""
        if self.is_over:
            return
        await self.drain()
        self.is_over = True
        for live in self._turns:
            if live.started and live.task is not None:
                live.task.cancel()
            else:
                live.abandon()
        until_s = self._clock.monotonic_s() + RELEASE_S
        while self.count and (left_s := until_s - self._clock.monotonic_s()) > 0:
            await self._wait_until_freed(min(LOOK_S, left_s))

    async def stop(self) -> None:
        """Hands over what still runs, and leaves."""
        await self.hand_over()
        for task in self._loops:
            task.cancel()
        await self.tasks.__aexit__(None, None, None)
        await self._lease.leave()
        await self._hints.tell()

    def begin_drain(self, within_s: float) -> None:
        """No new turns from now on; the running ones have until then. A shorter time given later holds.

        Who listens here to what runs elsewhere, or waits for a next owner, can go there at once.
        """
        self.draining = True
        for live in self._turns:
            if not live.is_here and not live.is_awaited:
                live.abandon()
        until_s = self._clock.monotonic_s() + within_s
        self._drain_until_s = until_s if self._drain_until_s is None else min(until_s, self._drain_until_s)

    async def drain(self) -> None:
        """Waits for the running turns, at most until the end that the first `begin_drain` set."""
        self.begin_drain(self._settings.drain_s)
        while self.count and self._drain_until_s is not None and self._clock.monotonic_s() < self._drain_until_s:
            await self._wait_until_freed(min(LOOK_S, self._drain_until_s - self._clock.monotonic_s()))
        if self.count:
            log.warning("drain.timeout", running=self.count)

    def take_place(self) -> bool:
        """Whether there was one; it is then the caller's to fill with `run` or to give back."""
        if not self._settings.runs_turns or self.count >= self._settings.max_running or not self._lease.is_held:
            return False
        self.batches.announce_other()
        self.count += 1
        return True

    def give_back_place(self) -> None:
        if self.count >= self._settings.max_running:
            self._claim_is_due.set()
        self.count -= 1
        self._running.set(self.count)
        self._freed.set()

    def run(self, grant: Grant) -> None:
        """Runs the lane from this grant on, in the place that was taken for it."""
        self._running.set(self.count)
        live = self._turns.of_grant(grant)
        live.task = self.tasks.create_task(self._run_lane(grant))

    async def _run_lane(self, grant: Grant) -> None:
        following: Grant | None = grant
        try:
            while following is not None:
                live = self._turns.of_grant(following)
                is_batch = following.turn_class == BATCH_CLASS
                self.batches.begin(is_batch=is_batch)
                try:
                    following = await self._run_turn(live, following)
                finally:
                    self._turns.remove(live.id)
                    self.batches.end(is_batch=is_batch)
        finally:
            self.give_back_place()

    async def fill(self, tickets: Sequence[TurnTicket], take: Callable[[int], Awaitable[Sequence[Grant]]]) -> int:
        """Runs what `take` is granted, in places that are free, at most one for each ticket; how many began.

        `take` is told how many it may ask for. A ticket that is not needed is given back.
        """
        is_open = not self.draining and self._lease.is_held and self._settings.runs_turns
        room = max(0, min(len(tickets), self._settings.max_running - self.count)) if is_open else 0
        self.count += room
        left, begun = list(tickets), 0
        try:
            if room:
                with self.asking():
                    grants = await take(room)
                for grant in grants:
                    live = self._turns.of_grant(grant)
                    live.ticket, live.is_streamed = left.pop(), False
                    self.run(grant)
                    begun += 1
        finally:
            for _ in range(room - begun):
                self.give_back_place()
            for ticket in left:
                ticket.release()
        return begun

    async def _run_turn(self, live: LiveTurn, grant: Grant) -> Grant | None:
        if self.is_over:
            live.abandon()
            await self._runner.release(grant)
            await self._hints.tell()
            return None
        live.stream.start_epoch(grant.epoch)
        if grant.cancel_requested:
            live.stop("cancelled")
        live.task = asyncio.current_task()
        live.started = True
        with self.asking():
            return await self._runner.run(live, grant, next_owner=self._next_owner)

    def _next_owner(self) -> str | None:
        """Who gets the lane's next turn with the end of this one: nobody, when others may be waiting for the place."""
        is_free = not self.draining and self.count < self._settings.max_running and self._lease.is_held
        return self._instance if is_free else None

    async def _claim(self) -> None:
        while True:
            room = self._settings.max_running - self.count
            if room > 0 and not self.draining and self._lease.is_held:
                grants = await self._claimed(room)
                self._look_s = LEAST_LOOK_S if grants else self._look_s * 2
                for grant in grants:
                    if grant.attempts > 1:
                        log.warning("lane.reclaimed", turn_id=grant.turn_id, attempts=grant.attempts)
                    self.count += 1
                    self.run(grant)
            await self._next_claim()

    async def _claimed(self, room: int) -> list[Grant]:
        try:
            with self.asking():
                return await self._journal.claim(room, instance=self._instance, now=self._clock.now_s())
        except NgxError as error:
            log.error("lanes.not_claimed", code=error.code)
            return []

    async def _next_claim(self) -> None:
        """Waits, unless a hint says that a lane waits, or a place is free where all were taken.

        Shortly after lanes were found, longer and longer after looks in vain; never in step with other instances.
        """
        self._look_s = min(self._look_s, self._settings.claim_every_s)
        await self._set_within(self._claim_is_due, self._look_s * self._rng.uniform(0.5, 1.0))
        self._claim_is_due.clear()

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around whatever may grant a lane to this instance, until its answer is known."""
        token = object()
        self._asking.add(token)
        try:
            yield
        finally:
            self._asking.remove(token)

    async def _settle_forgotten(self) -> None:
        """Gives back lanes that were granted to this instance by an answer that never came.

        Nobody else takes them while this instance lives. A lane is forgotten when it is not at work here, and all that
        could have been about to say so has been answered since it was first seen.
        """
        seen: dict[HeldLane, set[object]] = {}
        while True:
            await self._clock.sleep(self._settings.look_back_s)
            try:
                held = await self._journal.query(HeldLanes(instance=self._instance))
                unknown = [lane for lane in held if not self._is_at_work(lane)]
                forgotten = [lane for lane in unknown if lane in seen and not seen[lane] & self._asking]
                seen = {lane: seen.get(lane, set(self._asking)) for lane in unknown}
                if forgotten:
                    log.warning("lanes.forgotten", count=len(forgotten))
                    await self._journal.transact(
                        [ReleaseLane(conversation_id=lane.conversation_id, epoch=lane.epoch) for lane in forgotten]
                    )
            except NgxError as error:
                log.warning("lanes.not_looked_back", code=error.code)

    def _is_at_work(self, lane: HeldLane) -> bool:
        live = self._turns.get(lane.turn_id)
        return live is not None and live.is_here

    def tell_waiting(self) -> None:
        """A lane waits that nobody here has room for."""
        if self._hints.are_heard:
            self.tasks.create_task(self._hints.tell())

    def _hint(self) -> None:
        self._claim_is_due.set()

    async def _wait_until_freed(self, within_s: float) -> None:
        self._freed.clear()
        await self._set_within(self._freed, within_s)

    @staticmethod
    async def _set_within(event: asyncio.Event, within_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await event.wait()

    async def _heartbeat(self) -> None:
        while True:
            await self._clock.sleep(self._settings.heartbeat_s)
            self._turns.beat()

    def adopt(self, turn_id: str, owner: Owner, *, interrupts: bool) -> None:
        """Its caller left while the turn was being stored: finds out what became of it, and runs it."""
        self.tasks.create_task(self._adopt(turn_id, owner, interrupts))

    async def _adopt(self, turn_id: str, owner: Owner, interrupts: bool) -> None:
        try:
            await self._journal.transact([])
            turn = await self._journal.query(GetTurn(id=turn_id, owner=owner))
            holder = await self._journal.query(HolderOf(turn_id=turn_id, owner=owner))
        except NgxError as error:
            log.error("turn.not_adopted", turn_id=turn_id, code=error.code)
            return
        if turn is None:
            return
        if interrupts:
            self._interrupt(turn.conversation_id, turn_id)
        live = self._turns.get(turn_id)
        is_ours = holder is not None and holder.instance == self._instance
        if turn.status != "running" or not is_ours or (live is not None and live.task is not None):
            return
        self.count += 1
        grant = Grant(
            conversation_id=turn.conversation_id, owner=owner, turn_id=turn_id, epoch=turn.epoch, attempts=1,
            text=turn.text, turn_class=turn.turn_class, accepted_at=turn.accepted_at, deadline_at=turn.deadline_at,
            user_seq=turn.seq, cancel_requested=turn.cancel_requested, agent=turn.agent, locale=turn.locale,
            attachments=turn.attachments, trail=turn.trail,
        )  # fmt: skip
        self.run(grant)

    def _interrupt(self, conversation_id: str, by: str) -> None:
        for live in self._turns:
            if live.conversation_id == conversation_id and live.id != by and live.started:
                live.stop("interrupted")
