"""Work that a caller does itself, in a worker's place."""

from __future__ import annotations

import asyncio

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ngx_agents.a2a.message import Budget
from ngx_agents.a2a.refusals import AgentBusy, AgentFailed, AgentSuspended, BudgetSpent, CallsUnbounded
from ngx_agents.a2a.server import A2AServer
from ngx_agents.errors import DeadlineExceeded, Draining, JournalUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces
from tests.a2a.teams import Gate, echo, quiet, soon, until


def counted(metrics: Metrics, outcome: str) -> bool:
    return f'ngx_a2a_messages_total{{agent="agent",outcome="{outcome}"}} 1.0' in metrics.render().decode()


async def test_a_seat_counts_as_a_message_that_is_worked_on() -> None:
    metrics = Metrics()
    async with A2AServer(metrics=metrics) as a2a:
        a2a.register("agent", echo)
        context = a2a.context(deadline_s=(by_s := soon()), turn_class=2)
        with context.seat("agent") as inner:
            assert (inner.agent, inner.depth, inner.deadline_s, inner.turn_class) == ("agent", 1, by_s, 2)
            assert a2a.agent("agent").running == a2a.pending == 1
            inner.spend(tokens=7)
        assert (context.tokens_spent, context.calls_made) == (7, 1)
        assert quiet(a2a)
        assert counted(metrics, "completed")


async def test_there_is_none_where_a_message_would_have_to_wait_or_to_leave() -> None:
    gate = Gate()
    async with A2AServer(worker_threads=1) as a2a, asyncio.TaskGroup() as group:
        a2a.register("agent", gate)
        context = a2a.context(deadline_s=soon())
        assert context.seat("elsewhere") is None
        working = group.create_task(a2a.request("agent", 1, deadline_s=soon()))
        await until(lambda: gate.entered)
        assert context.seat("agent") is None
        assert context.calls_made == 0
        gate.open()
        await working
        with context.seat("agent"):
            assert context.seat("agent") is None
        assert quiet(a2a)


async def test_a_message_that_waits_begins_when_a_seat_is_left() -> None:
    async with A2AServer(worker_threads=1) as a2a, asyncio.TaskGroup() as group:
        a2a.register("agent", echo)
        with a2a.context().seat("agent"):
            waiting = group.create_task(a2a.request("agent", "x", deadline_s=soon()))
            await until(lambda: a2a.agent("agent").waiting == 1)
        assert await waiting == "x"


async def test_what_is_refused_leaves_nothing_behind() -> None:
    async with A2AServer(max_pending_requests=1) as a2a:
        a2a.register("agent", echo)
        with a2a.context().seat("agent") as inner, pytest.raises(AgentBusy):
            inner.seat("agent")
        with pytest.raises(DeadlineExceeded):
            a2a.context(deadline_s=soon(-1.0)).seat("agent")
        with pytest.raises(BudgetSpent):
            a2a.context(budget=Budget(tokens=0)).seat("agent")
        assert quiet(a2a)
    with pytest.raises(Draining):
        a2a.context().seat("agent")


async def test_a_loop_of_seats_ends_in_a_typed_error() -> None:
    async with A2AServer() as a2a:
        a2a.register("agent", echo)

        def deeper(context, depth: int) -> int:
            try:
                with context.seat("agent") as inner:
                    return deeper(inner, depth + 1)
            except CallsUnbounded:
                return depth

        assert deeper(a2a.context(), 0) == 8
        assert quiet(a2a)


async def test_only_what_is_the_agents_fault_opens_its_breaker() -> None:
    async with A2AServer(circuit_breaker_threshold=10) as a2a:
        a2a.register("agent", echo)

        def failing(error: Exception) -> None:
            with a2a.context().seat("agent"):
                raise error

        for _ in range(30):
            with pytest.raises(JournalUnavailable):
                failing(JournalUnavailable("away"))
        for _ in range(10):
            assert a2a.agent("agent").breaker.state == "closed"
            with pytest.raises(AgentFailed) as told:
                failing(RuntimeError("the secret reason"))
            assert "secret" not in str(told.value)
        with pytest.raises(AgentSuspended):
            a2a.context().seat("agent")
        assert quiet(a2a)


async def test_a_cancel_of_the_caller_speaks_against_nobody() -> None:
    metrics = Metrics()
    async with A2AServer(metrics=metrics, circuit_breaker_threshold=1) as a2a:
        a2a.register("agent", echo)

        async def work() -> None:
            with a2a.context().seat("agent"):
                await asyncio.Event().wait()

        working = asyncio.ensure_future(work())
        await until(lambda: a2a.agent("agent").running == 1)
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert counted(metrics, "cancelled")
        assert a2a.agent("agent").breaker.state == "closed"
        assert quiet(a2a)


async def test_a_server_that_stops_waits_for_seats() -> None:
    a2a = A2AServer()
    a2a.register("agent", echo)
    await a2a.start()
    with a2a.context().seat("agent"):
        stopping = asyncio.ensure_future(a2a.stop(drain_s=5.0))
        await asyncio.sleep(0.05)
        assert not stopping.done()
    await asyncio.wait_for(stopping, 1.0)


async def test_a_seat_is_a_span_below_its_callers() -> None:
    exporter = InMemorySpanExporter()
    async with Traces(exporter=exporter) as traces, A2AServer(traces=traces) as a2a:
        a2a.register("agent", echo)
        with traces.span("turn"), a2a.context().seat("agent") as inner, inner.seat("agent"):
            pass
    spans = {span.name: [] for span in exporter.get_finished_spans()}
    for span in exporter.get_finished_spans():
        spans[span.name].append(span)
    [turn], below = spans["turn"], spans["a2a.handle"]
    by_depth = {span.attributes["depth"]: span for span in below}
    assert by_depth[1].parent.span_id == turn.context.span_id
    assert by_depth[2].parent.span_id == by_depth[1].context.span_id
