"""A2AServer: how the agents of a team ask one another, in this process or, over a carrier, in others.

A call is admitted in this order: pending (over all agents), the agent's breaker, its mailbox, one of its workers; the
first that refuses says so at once, with a time to come back. Registering works before and after the start. Entering
starts; leaving takes nothing new, lets what was accepted finish for `DRAIN_S`, cancels the rest, and leaves no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Self

from ngx_agents.a2a.admission import Admission, Means
from ngx_agents.a2a.call import Call, ChannelSink, FutureSink, NoSink
from ngx_agents.a2a.carrier import Carrier
from ngx_agents.a2a.local_agent import AgentLimits, LocalAgent
from ngx_agents.a2a.message import INTERACTIVE, LEAST_URGENT, UNLIMITED, A2AContext, A2AMessage, Budget, Handler
from ngx_agents.a2a.meters import Meters
from ngx_agents.a2a.pool import Instance, Pool
from ngx_agents.a2a.refusals import AgentUnknown
from ngx_agents.a2a.remembered import Remembered
from ngx_agents.a2a.seat import Seat
from ngx_agents.clock import Clock, Rng, SystemClock
from ngx_agents.errors import ConfigError, DeadlineExceeded, InvalidRequest, NgxError
from ngx_agents.resilience.breaker import BreakerRules
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces

DRAIN_S = 30.0
DEADLINES_S = (30.0, 60.0, 90.0, 3600.0)
MAX_BREAKER_OPEN_S = 60.0
MAX_NAME = 128


class A2AServer:
    """`message_queue_size` messages may wait for each agent, `worker_threads` are worked on at once for each agent;
    `max_pending_requests` bounds those accepted and unfinished over all agents. `message_timeout` (seconds) is the
    longest wait for a worker, shortened under standing load. An agent's breaker opens at `circuit_breaker_threshold`
    calls of which half failed, for `circuit_breaker_reset_timeout` seconds.
    """

    def __init__(  # noqa: PLR0913  # the specification's constructor, and the server's surroundings
        self,
        *,
        message_queue_size: int = 1000,
        worker_threads: int = 20,
        max_pending_requests: int = 500,
        message_timeout: float = 5.0,
        circuit_breaker_threshold: int = 20,
        circuit_breaker_reset_timeout: float = 60,
        carrier: Carrier | None = None,
        fairness: Fairness | None = None,
        clock: Clock | None = None,
        rng: Rng | None = None,
        metrics: Metrics | None = None,
        traces: Traces | None = None,
    ) -> None:
        if min(message_queue_size, worker_threads, max_pending_requests) < 1 or not message_timeout > 0:
            raise ConfigError("the sizes and the timeout of an A2AServer are positive")
        self._clock = clock or SystemClock()
        self._rng = rng or Rng()
        self._traces = traces or Traces()
        self._meters = Meters(metrics or Metrics())
        open_s = float(circuit_breaker_reset_timeout)
        rules = BreakerRules(
            min_calls=circuit_breaker_threshold, open_s=open_s, max_open_s=max(open_s, MAX_BREAKER_OPEN_S)
        )
        limits = AgentLimits(
            mailbox=message_queue_size,
            workers=worker_threads,
            max_wait_s=message_timeout,
            breaker=rules,
            fairness=fairness,
        )
        means = Means(clock=self._clock, rng=self._rng, traces=self._traces, meters=self._meters, carrier=carrier)
        self._admission = Admission(self, limits, means, max_pending=max_pending_requests)
        self._remembered = Remembered()
        self._id_prefix = f"{self._rng.bits(64):016x}-"
        self._last_id = 0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(drain_s=DRAIN_S if error is None else 0.0)

    async def start(self) -> None:
        """Raises ConfigError when the carrier cannot be used as it is configured."""
        await self._admission.start()

    async def stop(self, *, drain_s: float = DRAIN_S) -> None:
        """Ends every task of the server; callers that still wait after `drain_s` get TurnCancelled."""
        await self._admission.stop(drain_s=drain_s)

    def register(
        self,
        agent_id: str,
        handler: Handler | None,
        *,
        instances: Sequence[Instance] = (),
        accepts: type | None = None,
    ) -> None:
        """Lets `agent_id` be asked, from now on or from the start on.

        `handler(message)` is a coroutine function that returns the reply, or an async generator function that yields
        its pieces; it runs in this process. `instances` are others that can do the same. `accepts` is what a payload
        from another process is decoded as; without it plain values come. Raises ConfigError.
        """
        if not 0 < len(agent_id) <= MAX_NAME or not agent_id.isprintable():
            raise ConfigError(f"an agent's name is printable and has 1 to {MAX_NAME} characters")
        if agent_id in self._admission.agents:
            raise ConfigError(f"the agent {agent_id!r} is registered already")
        own = () if handler is None else (Instance("local", handler, capacity=self._admission.limits.workers),)
        if not own and not instances:
            raise ConfigError(f"the agent {agent_id!r} has neither a handler nor instances")
        self._admission.add(agent_id, Pool((*own, *instances), rng=self._rng), accepts)

    @property
    def agents(self) -> tuple[str, ...]:
        return tuple(self._admission.agents)

    @property
    def pending(self) -> int:
        """Accepted and unfinished."""
        return self._admission.pending

    def agent(self, agent_id: str) -> LocalAgent:
        """What is known of an agent: its breaker, its mailbox, its instances. Raises AgentUnknown."""
        found = self._admission.agents.get(agent_id)
        if found is None:
            raise AgentUnknown(agent_id)
        return found

    def context(
        self,
        *,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        budget: Budget = UNLIMITED,
        traceparent: str | None = None,
        depth: int = 0,
    ) -> A2AContext:
        """Where a turn begins: the calls made in it share its deadline, class, budget and trace. `depth` is how many
        calls stand above it already, at other servers."""
        _require_class(turn_class)
        return A2AContext(
            self, deadline_s=deadline_s, turn_class=turn_class, budget=budget, traceparent=traceparent, depth=depth
        )

    async def request(
        self,
        agent: str,
        payload: object,
        *,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        context: A2AContext | None = None,
        message_id: str | None = None,
    ) -> object:
        """What the agent's handler returned (a list of the pieces when it streams).

        `deadline_s` is absolute and monotonic; without it the context's holds, else that of the class. A message sent
        again with the same `message_id` is not worked on again: it gets the reply that is there or on its way.
        Raises what the handler raised of ours, AgentFailed for anything else, and a2a.refusals, DeadlineExceeded,
        TurnCancelled, Draining, InvalidRequest.
        """
        inner = self._context(agent, deadline_s, turn_class, context)
        if message_id is not None:
            return await self._request_once(agent, payload, inner, message_id)
        sink = FutureSink(asyncio.get_running_loop())
        call = await self._admission.admit(A2AMessage(self._new_id(), agent, payload, inner), sink)
        try:
            return await sink.future
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def stream(
        self,
        agent: str,
        payload: object,
        *,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        context: A2AContext | None = None,
    ) -> AsyncGenerator[object]:
        """The pieces of the reply as they come (one, when the handler does not stream). Raises like `request`, at the
        first piece or in the place of a later one. Left early, within `contextlib.aclosing`, it ends the work."""
        inner = self._context(agent, deadline_s, turn_class, context)
        sink = ChannelSink()
        call = await self._admission.admit(A2AMessage(self._new_id(), agent, payload, inner), sink)
        try:
            while True:
                try:
                    piece = await sink.next()
                except StopAsyncIteration:
                    return
                yield piece
        finally:
            call.cancel()

    def seat(self, agent: str, *, context: A2AContext) -> Seat | None:
        """A free worker's place of an agent of this process, for a caller that does the work in its own task and keeps
        its own time (`a2a.seat`); None when there is none, and the message has to be sent. Raises what `request` raises
        before it is accepted."""
        if not self._admission.has_seat(agent):
            return None
        inner = self._context(agent, None, context.turn_class, context)
        return self._admission.seat(A2AMessage(self._new_id(), agent, None, inner))

    async def send(
        self,
        agent: str,
        payload: object,
        *,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        context: A2AContext | None = None,
        message_id: str | None = None,
    ) -> str:
        """One way: the message's id, once it is accepted. What comes of it is counted, not told."""
        inner = self._context(agent, deadline_s, turn_class, context)
        if message_id is None:
            message_id = self._new_id()
            message = A2AMessage(message_id, agent, payload, inner)
            await self._admission.admit(message, NoSink(), wants_reply=False)
        elif self._remembered.find((agent, message_id), self._clock.monotonic_s()) is None:
            await self._admit_once(A2AMessage(message_id, agent, payload, inner))
        return message_id

    async def broadcast(
        self,
        payload: object,
        *,
        agents: Sequence[str] | None = None,
        deadline_s: float | None = None,
        turn_class: int = INTERACTIVE,
        context: A2AContext | None = None,
    ) -> dict[str, object | NgxError]:
        """The reply of each of `agents` (all that are registered here), or the error in its place."""

        async def asked(agent: str) -> object | NgxError:
            try:
                return await self.request(agent, payload, deadline_s=deadline_s, turn_class=turn_class, context=context)
            except NgxError as error:
                return error

        async with asyncio.TaskGroup() as group:
            asking = {agent: group.create_task(asked(agent)) for agent in (self.agents if agents is None else agents)}
        return {agent: task.result() for agent, task in asking.items()}

    async def _request_once(self, agent: str, payload: object, inner: A2AContext, message_id: str) -> object:
        reply = self._remembered.find((agent, message_id), self._clock.monotonic_s())
        if reply is not None:
            return await self._joined(reply, inner)
        call, reply = await self._admit_once(A2AMessage(message_id, agent, payload, inner))
        try:
            return await asyncio.shield(reply)
        except asyncio.CancelledError:
            call.cancel()
            raise

    async def _joined(self, reply: asyncio.Future[object], inner: A2AContext) -> object:
        self._meters.duplicates.inc()
        try:
            async with asyncio.timeout(self._admission.remaining_s(inner)):
                return await asyncio.shield(reply)
        except TimeoutError:
            raise DeadlineExceeded("the time for this call to an agent is over") from None

    async def _admit_once(self, message: A2AMessage) -> tuple[Call, asyncio.Future[object]]:
        sink = FutureSink(asyncio.get_running_loop())
        call = await self._admission.admit(message, sink)
        sink.future.add_done_callback(_look)
        self._remembered.put((message.agent, message.id), sink.future, self._clock.monotonic_s())
        return call, sink.future

    def _context(self, agent: str, deadline_s: float | None, turn_class: int, context: A2AContext | None) -> A2AContext:
        _require_class(turn_class)
        if context is None:
            context = A2AContext(self, turn_class=LEAST_URGENT)
        if context.traceparent is None and self._traces.is_on:
            context.traceparent = self._traces.current.traceparent
        made = context.child(agent, deadline_s, turn_class)
        if made.deadline_s is None:
            made.deadline_s = self._clock.monotonic_s() + DEADLINES_S[made.turn_class]
        return made

    def _new_id(self) -> str:
        self._last_id += 1
        return f"{self._id_prefix}{self._last_id}"


def _require_class(turn_class: int) -> None:
    if not 0 <= turn_class <= LEAST_URGENT:
        raise InvalidRequest(f"a class is 0 to {LEAST_URGENT}", field="class")


def _look(reply: asyncio.Future[object]) -> None:
    """Nobody need be left who does."""
    if not reply.cancelled():
        reply.exception()
