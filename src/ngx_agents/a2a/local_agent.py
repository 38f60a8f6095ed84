"""An agent of this process: its mailbox, its workers, its instances and its breaker.

Order of admission: breaker, mailbox, worker (the server has counted the message as pending before). A worker is a
task that lives for one message, so that contexts do not mix and a cancel ends exactly one; there are at most
`workers`. Producers: the server's callers and the carrier. Consumer: `_pump`, run whenever a message comes or a worker
ends. Cancels come from the `Call` (caller, deadline) and from the server's stop. Every admitted call frees its ticket,
its place and its worker however it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, cast

from ngx_agents.a2a.call import Call
from ngx_agents.a2a.mailbox import Mailbox
from ngx_agents.a2a.message import Handler
from ngx_agents.a2a.meters import AgentMeters
from ngx_agents.a2a.pool import Instance, Pool
from ngx_agents.a2a.refusals import AgentBusy, AgentFailed, AgentSuspended, BusyReason, StreamBroken, is_fault
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import NgxError, TurnCancelled
from ngx_agents.resilience.breaker import Breaker, BreakerRules, Ticket
from ngx_agents.resilience.caller import tenant_now
from ngx_agents.resilience.fairness import Fairness
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.traceparent import parse_traceparent
from ngx_agents.telemetry.traces import Traces

MAX_COLLECTED = 10_000
SMOOTHING = 0.1
FIRST_SERVICE_S = 0.01
MIN_RETRY_S, MAX_RETRY_S = 0.05, 60.0
log = event_log("a2a")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentLimits:
    """`max_wait_s` is from acceptance to a worker."""

    mailbox: int
    workers: int
    max_wait_s: float
    breaker: BreakerRules
    fairness: Fairness | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What every agent of a server uses. `spawn` starts a task; `on_ended` hears of every admitted call once."""

    clock: Clock
    rng: Rng
    traces: Traces
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    on_ended: Callable[[Call], None]


class LocalAgent:
    """`pool` has one instance or more; `limits` are those of every agent of the server."""

    def __init__(
        self, name: str, pool: Pool, *, limits: AgentLimits, around: Surroundings, meters: AgentMeters
    ) -> None:
        self.name = name
        self.pool = pool
        self.meters = meters
        self._limits = limits
        self._around = around
        self._now_s = around.clock.monotonic_s
        self._mailbox: Mailbox[Call] = Mailbox(limits.mailbox, max_wait_s=limits.max_wait_s, fairness=limits.fairness)
        self._running: set[Call] = set()
        self._service_s = FIRST_SERVICE_S
        self._sweep: asyncio.TimerHandle | None = None
        self.breaker = Breaker(limits.breaker, clock=around.clock, rng=around.rng, on_change=meters.breaker)

    @property
    def waiting(self) -> int:
        return len(self._mailbox)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def room(self) -> int:
        """Workers that are free, less the messages that wait for one."""
        return self._limits.workers - len(self._running) - len(self._mailbox)

    @property
    def retry_after_s(self) -> float:
        """About how long what waits now will take, stretched so that callers come back apart."""
        drain_s = (len(self._mailbox) + 1) * self._service_s / self._limits.workers
        return min(MAX_RETRY_S, max(MIN_RETRY_S, drain_s * self._around.rng.uniform(1.0, 1.5)))

    def admit(self, call: Call, *, waited_s: float = 0.0) -> None:
        """Starts it or lets it wait; `waited_s` is what it has waited elsewhere. Raises AgentSuspended, AgentBusy; then
        nothing has been kept."""
        now_s = self._now_s()
        ticket = self._pass_breaker(call, now_s)
        call.entered_s -= waited_s
        call.stop = self._leave_mailbox
        if self.is_free:
            self._start(call, now_s)
            return
        displaced = self._mailbox.put(call, call.turn_class, now_s, waited_s=waited_s, tenant=tenant_now())
        if displaced is call:
            ticket.ignored()
            self.meters.refused("mailbox", call.turn_class, now_s)
            raise AgentBusy(self.name, "mailbox", retry_after_s=self.retry_after_s)
        if displaced is not None:
            self._give_up(displaced, "displaced", now_s)
        self.meters.depth.value = len(self._mailbox)
        self._arm_sweep(now_s)

    @property
    def is_free(self) -> bool:
        """Whether a message would begin at once."""
        return len(self._running) < self._limits.workers and not len(self._mailbox)

    def seat(self, call: Call) -> None:
        """Takes a free worker's place for a message that its caller works on: `begin`, then `end`. Raises
        AgentSuspended; then nothing has been kept."""
        self._pass_breaker(call, self._now_s())
        self._take_place(call, 0.0)

    def begin(self) -> tuple[Instance, float]:
        """Who counts as doing it, and since when."""
        began_s = self._now_s()
        return self.pool.choose(began_s), began_s

    def end(self, call: Call, instance: Instance, began_s: float, failure: BaseException | None) -> None:
        self._ended(call, instance, began_s, failure)

    def _pass_breaker(self, call: Call, now_s: float) -> Ticket:
        ticket = self.breaker.admit()
        if ticket is None:
            self.meters.refused("suspended", call.turn_class, now_s)
            raise AgentSuspended(self.name, retry_after_s=max(MIN_RETRY_S, self.breaker.retry_after_s))
        call.ticket = ticket
        call.entered_s = now_s
        return ticket

    def _take_place(self, call: Call, waited_s: float) -> None:
        self._running.add(call)
        self.meters.running.value = len(self._running)
        self.meters.waited.observe(waited_s)

    def cancel_all(self) -> None:
        """Ends what runs and what waits; each caller is told."""
        while (call := self._mailbox.take(self._now_s())) is not None:
            call.fail(TurnCancelled("the server is stopping"))
            self._forget(call, "cancelled")
        for call in list(self._running):
            call.cancel()

    def _start(self, call: Call, now_s: float) -> None:
        call.stop = None  # until it has begun, the mark that it was stopped is enough
        self._take_place(call, now_s - call.entered_s)
        call.task = self._around.spawn(self._traced(call) if self._around.traces.is_on else self._work(call))

    async def _traced(self, call: Call) -> None:
        context = call.message.context
        parent = parse_traceparent(context.traceparent)
        with self._around.traces.span("a2a.handle", kind="consumer", parent=parent) as span:
            span.set("agent", self.name)
            span.set("class", call.turn_class)
            span.set("depth", context.depth)
            context.traceparent = span.traceparent
            await self._work(call)

    async def _work(self, call: Call) -> None:
        """One message from worker to outcome: the supervisor of what handlers raise."""
        call.stop = _cancel_task
        began_s = self._now_s()
        instance = self.pool.choose(began_s)
        failure: BaseException | None = None
        try:
            if not call.stopped_by:
                await self._handle(call, instance.handler)
        except asyncio.CancelledError as error:
            failure = error
            call.fail(TurnCancelled("the agent was stopped"))
            raise
        except NgxError as error:
            failure = error
            call.fail(error)
        except Exception as error:  # a message's supervisor: whatever an agent raises ends here
            failure = error
            log.exception("a2a.agent_failed", agent=self.name, message_id=call.message.id)
            call.fail(AgentFailed(self.name))
        finally:
            self._ended(call, instance, began_s, failure)

    async def _handle(self, call: Call, handler: Handler) -> None:
        answer = handler(call.message)
        if type(answer) is CoroutineType:
            call.finish(await answer)
        elif isinstance(answer, AsyncGenerator):
            await self._pass_on(call, answer)
        else:
            call.finish(await cast("Awaitable[object]", answer))

    async def _pass_on(self, call: Call, answer: AsyncGenerator[object]) -> None:
        sink, collected = call.sink, list[object]()
        async with aclosing(answer):
            async for piece in answer:
                if sink.wants_chunks:
                    await sink.chunk(piece)
                elif len(collected) < MAX_COLLECTED:
                    collected.append(piece)
                else:
                    raise StreamBroken(self.name)
        call.finish(None if sink.wants_chunks else collected)

    def _ended(self, call: Call, instance: Instance, began_s: float, failure: BaseException | None) -> None:
        now_s = self._now_s()
        took_s = now_s - began_s
        is_fault = self._is_fault(call, failure, took_s)
        is_silent = failure is not None or bool(call.stopped_by)
        if self.pool.ended(instance, None if is_silent else took_s, now_s, failed=is_fault):
            self.meters.ejected(instance.name)
        ticket = call.ticket
        if ticket is not None:
            if is_fault:
                ticket.failed()
            elif is_silent:
                ticket.ignored()
            else:
                ticket.succeeded()
        meters = self.meters
        meters.ended(call.stopped_by or ("completed" if failure is None else "failed"))
        meters.service.observe(took_s)
        self._service_s += SMOOTHING * (took_s - self._service_s)
        self._running.discard(call)
        meters.running.value = len(self._running)
        self._around.on_ended(call)
        self._pump(now_s)

    def _is_fault(self, call: Call, failure: BaseException | None, took_s: float) -> bool:
        """Whether it speaks against the agent. A deadline does when the agent has had a fair time."""
        if call.stopped_by == "deadline":
            return took_s >= self._limits.max_wait_s
        if call.stopped_by or failure is None or isinstance(failure, asyncio.CancelledError):
            return False
        return is_fault(failure)

    def _pump(self, now_s: float) -> None:
        if len(self._mailbox):
            self._give_up_expired(now_s)
            while len(self._running) < self._limits.workers:
                call = self._mailbox.take(now_s)
                if call is None:
                    break
                self._start(call, now_s)
            self.meters.depth.value = len(self._mailbox)

    def _arm_sweep(self, now_s: float) -> None:
        due_s = self._mailbox.next_expiry_s(now_s)
        if self._sweep is None and due_s is not None:
            self._sweep = asyncio.get_running_loop().call_later(due_s - now_s, self._swept)

    def _swept(self) -> None:
        self._sweep = None
        now_s = self._now_s()
        self._give_up_expired(now_s)
        self.meters.depth.value = len(self._mailbox)
        self._arm_sweep(now_s)

    def _give_up_expired(self, now_s: float) -> None:
        for call in self._mailbox.expired(now_s):
            self._give_up(call, "waited", now_s)

    def _give_up(self, call: Call, reason: BusyReason, now_s: float) -> None:
        self.meters.refused(reason, call.turn_class, now_s)
        call.fail(AgentBusy(self.name, reason, retry_after_s=self.retry_after_s))
        self._forget(call, "refused")

    def _leave_mailbox(self, call: Call) -> None:
        if self._mailbox.remove(call, call.turn_class):
            self.meters.depth.value = len(self._mailbox)
            self._forget(call, call.stopped_by)

    def _forget(self, call: Call, outcome: str) -> None:
        """It was never begun."""
        if call.ticket is not None:
            call.ticket.ignored()
        self.meters.ended(outcome)
        self._around.on_ended(call)


def _cancel_task(call: Call) -> None:
    if call.task is not None:
        call.task.cancel()
