"""The turn engine: accepts turns durably, runs each lane in order, and picks up what a crash left behind.

A turn is acknowledged when the journal has it. Who runs it: the task that accepted it, if the lane and a place were
free; otherwise the task that finishes the lane's turn before it; otherwise the claimer, which looks every second.
One task per busy lane (`lanes.py`). A caller that goes away stops nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Self

from ngx_agents.agents.turn import Team
from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import Draining, InvalidRequest, NotFound
from ngx_agents.resilience.modes import Mode, ModeChange, Modes
from ngx_agents.state.commands import Accepted, AcceptTurn, Command, Grant, RequestCancel
from ngx_agents.state.ids import Ids, is_id, shard_in
from ngx_agents.state.journal import Journal
from ngx_agents.state.model import Answer, Owner, TurnStatus
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.attachments import Attachments
from ngx_agents.turns.batch_places import BatchPlaces
from ngx_agents.turns.events import terminal
from ngx_agents.turns.hints import Hints
from ngx_agents.turns.journal_clock import JournalClock
from ngx_agents.turns.lanes import Lanes
from ngx_agents.turns.lease import Lease
from ngx_agents.turns.live import LiveTurn
from ngx_agents.turns.model import TurnRequest, TurnTicket, TurnView, ended_view
from ngx_agents.turns.peers import Peers
from ngx_agents.turns.registry import TurnRegistry
from ngx_agents.turns.relays import Relays
from ngx_agents.turns.replay import Replay
from ngx_agents.turns.runner import TurnRunner
from ngx_agents.turns.settings import CLASS_TIMEOUT_S, TurnSettings
from ngx_agents.turns.stream import Subscription
from ngx_agents.turns.unwatched import UNWATCHED, may_be_stopped, stop_unwatched


class TurnEngine:
    """Enter its context to start it. Its `instance` names this incarnation in the lanes: never the same twice."""

    def __init__(  # noqa: PLR0913  # the engine's surroundings, all by name
        self,
        *,
        journal: Journal,
        team: Team,
        ids: Ids,
        clock: Clock,
        metrics: Metrics,
        settings: TurnSettings,
        peers: Peers | None = None,
        shared: Shared | None = None,
        modes: Modes | None = None,
        rng: Rng | None = None,
    ) -> None:
        self._journal = journal
        self._team = team
        self._ids = ids
        self._clock = clock = JournalClock(clock)
        self._settings = settings
        self._modes = modes or Modes(clock=clock)
        self._modes.on_change(self._tell_mode)
        self._watch: asyncio.Task[None] | None = None
        self._instance = ids.new("k", 0)
        self._attachments = Attachments(journal)
        self._turns = TurnRegistry(journal, clock, settings.held_events)
        rng = rng or Rng()
        batches = BatchPlaces(clock)
        runner = TurnRunner(
            journal=journal, team=team, ids=ids, clock=clock, metrics=metrics, settings=settings, batches=batches
        )
        self._lanes = Lanes(
            runner=runner,
            turns=self._turns,
            metrics=metrics,
            settings=settings,
            lease=Lease(journal, instance=self._instance, settings=settings, clock=clock, metrics=metrics),
            hints=Hints(shared),
            rng=rng,
            batches=batches,
        )
        self._relays = Relays(
            self._turns, peers, instance=self._instance, metrics=metrics, rng=rng, runs_turns=settings.runs_turns
        )
        self._accept_seconds = metrics.histogram(
            "ngx_accept_seconds", "From a request to its durable acceptance."
        ).labels()

    async def __aenter__(self) -> Self:
        await self._lanes.start()
        watch = stop_unwatched(
            self._turns, self._modes, clock=self._clock, after_s=self._settings.unwatched_s, stop=self._stop_unwatched
        )
        self._watch = self._lanes.tasks.create_task(watch)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._relays.stop()
        if self._watch is not None:
            self._watch.cancel()
        await self._lanes.stop()

    @property
    def instance(self) -> str:
        """This incarnation's name."""
        return self._instance

    @property
    def clock(self) -> Clock:
        """The time that all instances on the journal share."""
        return self._clock

    @property
    def places(self) -> int:
        """How many lanes may be at work here at once."""
        return self._settings.max_running

    @property
    def running(self) -> int:
        """How many are."""
        return self._lanes.count

    @property
    def batches(self) -> BatchPlaces:
        """Those among them with a turn of the batch class."""
        return self._lanes.batches

    @property
    def is_draining(self) -> bool:
        return self._lanes.draining

    def begin_drain(self, within_s: float | None = None) -> None:
        """No new turns; running ones have `within_s` (the setting's time) to finish before their lanes are released."""
        self._lanes.begin_drain(self._settings.drain_s if within_s is None else within_s)

    async def drain(self) -> None:
        """Begins to drain and waits for the running turns, no longer than they were given."""
        await self._lanes.drain()

    async def hand_over(self) -> None:
        """Drains; what still runs then is given back to the journal, and who listens to it is sent elsewhere."""
        await self._lanes.hand_over()

    async def accept(self, request: TurnRequest) -> Accepted:
        """Durable when it returns; from then on the turn has the request's ticket.

        Raises NotFound, InvalidRequest (unknown agent, attachments), TurnFinished (the task has ended),
        ConversationBusy, IdempotencyConflict, Overloaded, Draining, JournalUnavailable.
        """
        self._check(request)
        if request.attachments:
            await self._attachments.check(
                request.attachments, owner=request.owner, conversation_id=request.conversation_id
            )
        started_s = self._clock.monotonic_s()
        timeout_s = _timeout_s(request)
        has_place = self._lanes.take_place()
        command = self._command(request, timeout_s, grant=has_place)
        granted = False
        try:
            with self._lanes.asking():
                told: list[Command] = [command] if request.begins is None else [request.begins, command]
                result = (await self._journal.transact(told))[-1]
            if isinstance(result, BaseException):
                raise result
            accepted: Accepted = result
            granted = accepted.epoch is not None
        except asyncio.CancelledError:
            self._lanes.adopt(command.turn_id, request.owner, interrupts=request.when_busy == "interrupt")
            raise
        finally:
            if has_place and not granted:
                self._lanes.give_back_place()
        self._accept_seconds.observe(self._clock.monotonic_s() - started_s)
        if not accepted.replayed and not accepted.coalesced:
            self._welcome(command, accepted, request, deadline_s=started_s + timeout_s)
        elif request.ticket is not None:
            request.ticket.release()
        return accepted

    async def begin_granted(
        self, tickets: Sequence[TurnTicket], take: Callable[[int], Awaitable[Sequence[Grant]]]
    ) -> int:
        """Runs turns that `take` makes and is granted, one for each ticket at most; how many began.

        None while there is no place, or the engine drains. Raises what `take` raises.
        """
        return await self._lanes.fill(tickets, take)

    async def view(self, turn_id: str, owner: Owner) -> TurnView:
        """The turn now. Raises NotFound."""
        live = self._turns.get(turn_id)
        if live is not None and live.owner == owner:
            live.was_looked_at = True
            return live.view()
        return await self._turns.view_of(await self._turns.stored(turn_id, owner))

    async def wait(self, turn_id: str, owner: Owner) -> TurnView:
        """The turn when it has ended. Raises NotFound, Draining when it goes on elsewhere."""
        live = await self._turns.find(turn_id, owner)
        if live is None:
            return await self._turns.view_of(await self._turns.stored(turn_id, owner))
        self._refuse_what_goes_on_elsewhere(live)
        self._relays.follow(live, self._lanes.tasks, at_once=True)
        view = await live.wait()
        if view is None:
            raise Draining("the server is stopping; the turn goes on elsewhere", retry_after_s=2.0)
        return view

    async def subscribe(self, turn_id: str, owner: Owner, last_event_id: str | None) -> Subscription | Replay:
        """The events after `last_event_id`. Raises NotFound, Draining, InvalidRequest (field `Last-Event-ID`)."""
        live = await self._turns.find(turn_id, owner)
        if live is not None:
            self._refuse_what_goes_on_elsewhere(live)
            listening = live.stream.subscribe(last_event_id)
            self._relays.follow(live, self._lanes.tasks, at_once=True)
            return listening
        turn = await self._turns.stored(turn_id, owner)
        return Replay(turn, await self._turns.view_of(turn), last_event_id)

    def subscribe_here(self, turn_id: str, owner: Owner, last_event_id: str | None) -> Subscription:
        """Like `subscribe`, for another instance: only of a turn that runs here. Raises NotFound, InvalidRequest."""
        live = self._turns.get(turn_id)
        if live is None or live.owner != owner or not live.is_here:
            raise NotFound("no such turn runs here")
        return live.stream.subscribe(last_event_id)

    def stop_here(self, turn_id: str, owner: Owner, code: str) -> None:
        """Ends a turn that runs here, for another instance; one that it calls unwatched only when nobody else listens.

        Raises NotFound.
        """
        live = self._turns.get(turn_id)
        if live is None or live.owner != owner or not live.is_here:
            raise NotFound("no such turn runs here")
        if code != UNWATCHED or may_be_stopped(live, self._modes):
            live.stop(code)

    async def cancel(self, turn_id: str, owner: Owner) -> TurnStatus:
        """`cancelled` when it was waiting; `running` when it is being stopped. Raises NotFound, TurnFinished."""
        if not is_id("t", turn_id):
            raise NotFound("no such turn")
        [status] = await self._journal.transact([RequestCancel(turn_id=turn_id, owner=owner, now=self._clock.now_s())])
        if isinstance(status, BaseException):
            raise status
        live = self._turns.get(turn_id)
        if status != "running":
            if live is not None:
                self._end_waiting(live)
        elif live is not None and live.is_here:
            live.stop("cancelled")
        else:
            await self._relays.tell_stop(turn_id, owner, "cancelled")
        cancelled: TurnStatus = status
        return cancelled

    def _refuse_what_goes_on_elsewhere(self, live: LiveTurn) -> None:
        if self._lanes.is_over or (self._lanes.draining and not live.is_here):
            raise Draining("the server is stopping; the turn goes on elsewhere", retry_after_s=1.0)

    def _check(self, request: TurnRequest) -> None:
        if self._lanes.draining:
            raise Draining("the server is stopping", retry_after_s=2.0)
        if not is_id("c", request.conversation_id):
            raise NotFound("no such conversation")
        if request.agent is not None and not self._team.knows(request.agent):
            raise InvalidRequest("no agent of this team has that id", field="agent")

    def _command(self, request: TurnRequest, timeout_s: float, *, grant: bool) -> AcceptTurn:
        now = self._clock.now_s()
        shard = shard_in(request.conversation_id)
        return AcceptTurn(
            conversation_id=request.conversation_id, owner=request.owner, turn_id=self._ids.new("t", shard),
            message_id=self._ids.new("m", shard), text=request.text, turn_class=request.turn_class,
            when_busy=request.when_busy, now=now, deadline_at=now + timeout_s,
            grant_to=self._instance if grant else None, agent=request.agent, locale=request.locale,
            idempotency_key=request.idempotency_key, idempotency_hash=request.idempotency_hash,
            max_waiting=self._settings.max_waiting_per_conversation,
            behind_s=0.0 if request.ticket is None else request.ticket.behind_s, attachments=request.attachments,
            task=request.task, push=request.push, trail=request.trail,
        )  # fmt: skip

    def _welcome(self, command: AcceptTurn, accepted: Accepted, request: TurnRequest, *, deadline_s: float) -> None:
        live = self._turns.take_in(command.turn_id, command.conversation_id, command.owner, deadline_s=deadline_s)
        live.is_streamed = request.is_streamed
        live.ticket = request.ticket
        live.turn_class = request.turn_class
        live.is_posted = request.push is not None
        live.durability = accepted.durability
        live.stream.publish(
            "turn.accepted",
            {
                "turn_id": live.id,
                "conversation_id": live.conversation_id,
                "position": accepted.position,
                "durability": accepted.durability,
            },
        )
        if self._modes.current is not Mode.NORMAL:
            live.stream.publish("mode", {"mode": self._modes.current.label})
        if accepted.interrupt is not None:
            self._interrupt(accepted.interrupt, command.owner)
        if accepted.epoch is not None:
            grant = Grant(
                conversation_id=command.conversation_id, owner=command.owner, turn_id=command.turn_id,
                epoch=accepted.epoch, attempts=1, text=command.text, turn_class=command.turn_class,
                accepted_at=command.now, deadline_at=command.deadline_at, user_seq=accepted.user_seq,
                cancel_requested=False, agent=command.agent, locale=command.locale,
                attachments=command.attachments, trail=command.trail,
            )  # fmt: skip
            self._lanes.run(grant)
        else:
            self._relays.follow(live, self._lanes.tasks, at_once=False)
            if accepted.position == 0:
                self._lanes.tell_waiting()

    def _tell_mode(self, change: ModeChange) -> None:
        for live in self._turns:
            live.stream.publish("mode", {"mode": change.mode.label})

    def _stop_unwatched(self, live: LiveTurn) -> None:
        if live.is_here:
            live.stop(UNWATCHED)
        else:
            self._lanes.tasks.create_task(self._relays.tell_stop(live.id, live.owner, UNWATCHED))

    def _interrupt(self, turn_id: str, owner: Owner) -> None:
        running = self._turns.get(turn_id)
        if running is not None and running.is_here:
            running.stop("interrupted")
        else:
            self._lanes.tasks.create_task(self._relays.tell_stop(turn_id, owner, "interrupted"))

    def _end_waiting(self, live: LiveTurn) -> None:
        self._turns.remove(live.id)
        answer = Answer(code="cancelled", message="cancelled before it started")
        view = ended_view(live.id, live.conversation_id, status="cancelled", answer=answer, artifacts=())
        live.end(*terminal(view), view)


def _timeout_s(request: TurnRequest) -> float:
    """What the caller gives, as far as the class allows it."""
    most_s = CLASS_TIMEOUT_S[request.turn_class]
    return most_s if request.timeout_s is None else min(request.timeout_s, most_s)
