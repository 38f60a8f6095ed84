"""Who may begin: the agents of a server, what is pending over all of them, and the way to other processes.

A call goes to the agent here; to others when there is none here, or when its mailbox is full and a carrier knows of
more. `start` and `stop` own every task of the server: workers, last frames, cancels on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ngx_agents.a2a.call import Call, NoSink, Sink
from ngx_agents.a2a.carrier import Carrier, Delivery, Room
from ngx_agents.a2a.local_agent import AgentLimits, LocalAgent, Surroundings
from ngx_agents.a2a.message import A2AContext, A2AMessage, Budget
from ngx_agents.a2a.meters import Meters
from ngx_agents.a2a.pool import Pool
from ngx_agents.a2a.post_office import PostOffice
from ngx_agents.a2a.refusals import AgentAbsent, AgentBusy, AgentUnknown
from ngx_agents.a2a.seat import Seat
from ngx_agents.a2a.wire import unpack
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import DeadlineExceeded, Draining, NgxError, SharedUnavailable
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.traces import Traces

if TYPE_CHECKING:
    from ngx_agents.a2a.server import A2AServer

MAX_DEADLINE_S = 86_400.0
NO_SINK = NoSink()
log = event_log("a2a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a server works with."""

    clock: Clock
    rng: Rng
    traces: Traces
    meters: Meters
    carrier: Carrier | None


class Admission:
    """`server` is what contexts make further calls with."""

    def __init__(self, server: A2AServer, limits: AgentLimits, means: Means, *, max_pending: int) -> None:
        self._server = server
        self.limits = limits
        self.agents: dict[str, LocalAgent] = {}
        self.pending = 0
        self._means = means
        self._clock = means.clock
        self._max_pending = max_pending
        self._accepts: dict[str, type | None] = {}
        self._rooms: dict[str, Room] = {}
        self._group: asyncio.TaskGroup | None = None
        self._is_draining = False
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._around = Surroundings(
            clock=means.clock, rng=means.rng, traces=means.traces, spawn=self.spawn, on_ended=self._ended
        )
        self._office = self._new_office(means.carrier) if means.carrier is not None else None

    async def start(self) -> None:
        group = asyncio.TaskGroup()
        await group.__aenter__()
        self._group, self._is_draining = group, False
        if self._office is None:
            return
        try:
            await self._office.open(self.limits.mailbox)
            for name in self.agents:
                await self._serve(self._office.carrier, name)
        except BaseException:
            await self.stop(drain_s=0.0)
            raise

    async def stop(self, *, drain_s: float) -> None:
        group, self._is_draining = self._group, True
        for room in self._rooms.values():
            room.is_open = False
        if group is None:
            return
        try:
            async with asyncio.timeout(drain_s):
                await self._is_idle.wait()
        except TimeoutError:
            log.warning("a2a.not_drained", pending=self.pending)
        finally:
            await self._end(group)

    async def _end(self, group: asyncio.TaskGroup) -> None:
        office = self._office
        if office is not None:
            office.cancel_all()
        for agent in self.agents.values():
            agent.cancel_all()
        try:
            if office is not None:
                await office.flushed()
                await office.carrier.close()
        finally:
            self._rooms.clear()
            await group.__aexit__(None, None, None)
            self._group = None

    def add(self, name: str, pool: Pool, accepts: type | None) -> None:
        agent = LocalAgent(name, pool, limits=self.limits, around=self._around, meters=self._means.meters.of(name))
        self.agents[name] = agent
        self._accepts[name] = accepts
        if self._office is not None and self._group is not None:
            self._group.create_task(self._serve(self._office.carrier, name))

    async def admit(self, message: A2AMessage, sink: Sink, *, wants_reply: bool = True) -> Call:
        """The admitted call. When it raises, nothing has been kept."""
        context = message.context
        remaining_s = self._require_open(context)
        agent, office = self.agents.get(message.agent), self._office
        if agent is None and office is None:
            raise AgentUnknown(message.agent)
        self._require_pending(message.agent, context.turn_class)
        call = Call(message, sink)
        if agent is not None:
            try:
                self._admit_here(agent, call, remaining_s)
            except AgentBusy as busy:
                if office is None:
                    raise
                await self._overflow(office, call, busy, remaining_s)
            return call
        assert office is not None
        await self._post(office, call, remaining_s, wants_reply=wants_reply)
        return call

    def has_seat(self, name: str) -> bool:
        agent = self.agents.get(name)
        return agent is not None and agent.is_free

    def seat(self, message: A2AMessage) -> Seat:
        """A place that `has_seat` has found. Raises like `admit`, before anything has been kept."""
        agent = self.agents[message.agent]
        self._require_open(message.context)
        self._require_pending(message.agent, message.context.turn_class)
        call = Call(message, NO_SINK)
        agent.seat(call)
        self._count_in()
        return Seat(agent, call, self._means.traces)

    def _require_open(self, context: A2AContext) -> float:
        """What remains until the deadline."""
        if self._group is None or (self._is_draining and context.depth <= 1):
            raise Draining("the agents are not started" if self._group is None else "the server is stopping")
        return self.remaining_s(context)

    def remaining_s(self, context: A2AContext) -> float:
        """Raises DeadlineExceeded when nothing is left."""
        assert context.deadline_s is not None
        remaining_s = context.deadline_s - self._clock.monotonic_s()
        if not remaining_s > 0.0:
            raise DeadlineExceeded("the time for this call to an agent was over before it began")
        return min(remaining_s, MAX_DEADLINE_S)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._group is not None
        return self._group.create_task(work)

    def _require_pending(self, name: str, turn_class: int) -> None:
        if self.pending < self._max_pending:
            return
        agent = self.agents.get(name)
        if agent is not None:
            agent.meters.refused("pending", turn_class, self._clock.monotonic_s())
        elif self._office is not None:
            self._office.peer(name).meters.refused("pending", turn_class, self._clock.monotonic_s())
        raise AgentBusy(name, "pending", retry_after_s=1.0 if agent is None else agent.retry_after_s)

    def _admit_here(self, agent: LocalAgent, call: Call, remaining_s: float, *, waited_s: float = 0.0) -> None:
        agent.admit(call, waited_s=waited_s)
        self._began(call, remaining_s)

    async def _overflow(self, office: PostOffice, call: Call, busy: AgentBusy, remaining_s: float) -> None:
        """Others may have room; when they cannot be asked, the first refusal stands."""
        try:
            await self._post(office, call, remaining_s, wants_reply=True)
        except NgxError:
            raise busy from None

    async def _post(self, office: PostOffice, call: Call, remaining_s: float, *, wants_reply: bool) -> None:
        self._began(call, remaining_s)
        try:
            await office.post(call, remaining_s=remaining_s, wants_reply=wants_reply)
        except BaseException:
            if not call.is_settled:
                call.disarm()
                self._ended(call)
            raise

    def _began(self, call: Call, remaining_s: float) -> None:
        self._count_in()
        call.arm(asyncio.get_running_loop(), remaining_s)

    def _count_in(self) -> None:
        self.pending += 1
        self._means.meters.pending.value = self.pending
        self._is_idle.clear()

    def _ended(self, call: Call) -> None:
        self.pending -= 1
        self._means.meters.pending.value = self.pending
        if not self.pending:
            self._is_idle.set()
        for room in self._rooms.values():
            room.changed.set()

    def _new_office(self, carrier: Carrier) -> PostOffice:
        return PostOffice(
            carrier, clock=self._clock, rng=self._means.rng, meters=self._means.meters, rules=self.limits.breaker,
            max_wait_s=self.limits.max_wait_s, spawn=self.spawn, admit_parcel=self._admit_parcel, on_ended=self._ended,
        )  # fmt: skip

    async def _serve(self, carrier: Carrier, name: str) -> None:
        agent = self.agents[name]
        room = self._rooms[name] = Room(lambda: self._room(agent))
        try:
            await carrier.serve(name, room)
        except SharedUnavailable:
            log.warning("a2a.not_served", agent=name)  # the server stopped meanwhile

    def _room(self, agent: LocalAgent) -> int:
        """As many as the workers can take now and once more, so that they need not wait for the next delivery."""
        if self._is_draining:
            return 0
        return min(agent.room + self.limits.workers, self._max_pending - self.pending)

    def _admit_parcel(self, delivery: Delivery, sink: Sink) -> Call:
        """For the office. Raises what `admit` does, InvalidRequest when the payload cannot be read."""
        parcel = delivery.parcel
        agent = self.agents.get(parcel.agent)
        if agent is None:
            raise AgentAbsent(parcel.agent)
        budget = Budget(tokens=parcel.tokens_left, cost_usd=parcel.cost_usd_left, calls=parcel.calls_left)
        context = A2AContext(
            self._server, deadline_s=self._clock.monotonic_s() + parcel.remaining_s - delivery.age_s,
            turn_class=parcel.turn_class, budget=budget, traceparent=parcel.traceparent,
        )  # fmt: skip
        context.agent, context.depth = parcel.agent, parcel.depth
        remaining_s = self.remaining_s(context)
        payload = unpack(parcel.payload, self._accepts[parcel.agent])
        self._require_pending(parcel.agent, parcel.turn_class)
        message_id = parcel.id.removeprefix(f"{parcel.agent}:")
        call = Call(A2AMessage(message_id, parcel.agent, payload, context), sink)
        self._admit_here(agent, call, remaining_s, waited_s=delivery.age_s)
        return call
