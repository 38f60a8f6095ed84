"""A2AServer in one process: each parameter's effect, order of admission, failures, cancels, bounds."""

from __future__ import annotations

import asyncio
import time

import pytest

import ngx_agents
from ngx_agents.a2a.pool import Instance
from ngx_agents.a2a.refusals import AgentBusy, AgentFailed, AgentSuspended, AgentUnknown
from ngx_agents.a2a.server import A2AServer
from ngx_agents.errors import (
    ConfigError,
    DeadlineExceeded,
    Draining,
    InvalidRequest,
    ModelUnavailable,
    NgxError,
    NotFound,
    Overloaded,
    TurnCancelled,
)
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a.teams import Gate, echo, failing, quiet, soon, until
from tests.resilience.hand_clock import HandClock


async def test_the_constructor_of_the_specification_works_as_written():
    a2a = ngx_agents.A2AServer(
        message_queue_size=1000,
        worker_threads=20,
        max_pending_requests=500,
        message_timeout=5.0,
        circuit_breaker_threshold=20,
        circuit_breaker_reset_timeout=60,
    )
    a2a.register("nutrition", echo)
    async with a2a:
        assert await a2a.request("nutrition", b"lentils", deadline_s=soon()) == b"lentils"


@pytest.mark.parametrize("name", ["message_queue_size", "worker_threads", "max_pending_requests", "message_timeout"])
def test_sizes_are_positive(name):
    with pytest.raises(ConfigError):
        A2AServer(**{name: 0})


async def test_an_agent_may_be_registered_before_and_after_the_start():
    a2a = A2AServer()
    a2a.register("early", echo)
    with pytest.raises(Draining):
        await a2a.request("early", 1)
    async with a2a:
        a2a.register("late", echo)
        assert [await a2a.request(name, 1) for name in ("early", "late")] == [1, 1]
        with pytest.raises(ConfigError):
            a2a.register("late", echo)
        with pytest.raises(ConfigError):
            a2a.register("nobody", None)
        with pytest.raises(ConfigError):
            a2a.register("a\n", echo)


async def test_a_payload_is_passed_as_it_is():
    async with A2AServer() as a2a:
        a2a.register("echo", echo)
        payload = object()
        assert await a2a.request("echo", payload) is payload


async def test_twenty_handlers_of_one_agent_run_at_once_and_no_more():
    async with A2AServer(worker_threads=20) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        for number in range(25):
            group.create_task(a2a.request("gate", number))
        await until(lambda: len(gate.entered) >= 20)
        assert (len(gate.entered), a2a.agent("gate").waiting) == (20, 5)
        gate.open()


async def test_the_mailbox_holds_exactly_its_size_and_refuses_with_advice():
    async with A2AServer(worker_threads=1, message_queue_size=3) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        for number in range(4):
            group.create_task(a2a.request("gate", number))
        await until(lambda: a2a.agent("gate").waiting == 3)
        with pytest.raises(AgentBusy) as refused:
            await a2a.request("gate", "one too many")
        assert (refused.value.reason, refused.value.agent, a2a.pending) == ("mailbox", "gate", 4)
        assert refused.value.retry_after_s > 0
        assert isinstance(refused.value, Overloaded)
        gate.open()


async def test_a_critical_message_takes_the_place_of_the_newest_batch_one():
    async with A2AServer(worker_threads=1, message_queue_size=2) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        asked = [
            group.create_task(_error_of(a2a.request("gate", number, turn_class=turn_class)))
            for number, turn_class in enumerate((1, 3, 3))
        ]
        await until(lambda: a2a.agent("gate").waiting == 2)
        critical = group.create_task(a2a.request("gate", "critical", turn_class=0))
        await until(asked[2].done)
        assert asked[2].result().reason == "displaced"
        gate.open()
    assert critical.result() == "critical"
    assert gate.entered == [0, "critical", 1]


async def test_a_late_critical_message_overtakes_five_hundred_waiting_ones():
    async with A2AServer(worker_threads=1, max_pending_requests=1000) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        for number in range(501):
            group.create_task(a2a.request("gate", number))
        await until(lambda: a2a.agent("gate").waiting == 500)
        group.create_task(a2a.request("gate", "critical", turn_class=0))
        await asyncio.sleep(0)
        gate.open()
        await until(lambda: len(gate.entered) > 2)
    assert gate.entered[:3] == [0, "critical", 1]


async def test_pending_counts_over_all_agents_exactly():
    async with A2AServer(max_pending_requests=4) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        for name in ("one", "other"):
            a2a.register(name, gate)
            group.create_task(a2a.request(name, 1))
            group.create_task(a2a.request(name, 2))
        await until(lambda: a2a.pending == 4)
        with pytest.raises(AgentBusy) as refused:
            await a2a.request("one", 3)
        assert refused.value.reason == "pending"
        gate.open()
        await until(lambda: a2a.pending == 0)
        assert await a2a.request("one", 3) == 3


async def test_whoever_waits_too_long_for_a_worker_is_told_in_time():
    async with A2AServer(worker_threads=1, message_timeout=0.05) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        running = group.create_task(a2a.request("gate", "runs"))
        await until(lambda: gate.entered)
        began_s = time.monotonic()
        with pytest.raises(AgentBusy) as refused:
            await a2a.request("gate", "waits", deadline_s=soon())
        assert refused.value.reason == "waited"
        assert 0.04 < time.monotonic() - began_s < 1.0
        gate.open()
    assert running.result() == "runs"  # the timeout bounds the wait, not the work
    assert gate.entered == ["runs"]


async def test_the_breaker_opens_at_its_threshold_and_the_caller_learns_at_once():
    clock = HandClock()
    async with A2AServer(circuit_breaker_threshold=4, circuit_breaker_reset_timeout=60, clock=clock) as a2a:
        a2a.register("bad", failing)
        for _ in range(4):
            assert a2a.agent("bad").breaker.state == "closed"
            with pytest.raises(AgentFailed):
                await a2a.request("bad", 1)
        with pytest.raises(AgentSuspended) as refused:
            await a2a.request("bad", 1)
        assert 48 <= refused.value.retry_after_s <= 72
        clock.at_s += 47
        assert a2a.agent("bad").breaker.state == "open"
        clock.at_s += 26
        with pytest.raises(AgentFailed):  # a probe
            await a2a.request("bad", 1)
        assert quiet(a2a)


async def test_an_open_breaker_loses_no_message_that_waits():
    async with A2AServer(worker_threads=1, circuit_breaker_threshold=2) as a2a, asyncio.TaskGroup() as group:
        a2a.register("bad", failing)
        asked = [group.create_task(_error_of(a2a.request("bad", number))) for number in range(6)]
    assert [type(task.result()) for task in asked] == [AgentFailed] * 6


async def test_isolated_failures_never_open_the_breaker():
    async with A2AServer(circuit_breaker_threshold=20) as a2a:

        async def every_third_fails(message):
            if message.payload % 3 == 0:
                raise RuntimeError

        a2a.register("mostly", every_third_fails)
        for number in range(60):
            await _error_of(a2a.request("mostly", number))
        assert a2a.agent("mostly").breaker.state == "closed"


async def test_what_says_nothing_of_the_agent_is_not_counted_against_it():
    async with A2AServer(circuit_breaker_threshold=2) as a2a:

        async def picky(message):
            raise message.payload

        a2a.register("picky", picky)
        for error in (InvalidRequest("no"), Overloaded("full"), DeadlineExceeded("late")) * 3:
            assert await _error_of(a2a.request("picky", error)) is error
        assert a2a.agent("picky").breaker.state == "closed"
        for error in (ModelUnavailable("down"),) * 2:
            assert await _error_of(a2a.request("picky", error)) is error
        assert a2a.agent("picky").breaker.state == "open"


async def test_a_cancelled_probe_frees_its_slot():
    clock = HandClock()
    async with A2AServer(circuit_breaker_threshold=2, clock=clock) as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        a2a.agent("gate").breaker.suspect("told so")
        for _ in range(10):
            probe = group.create_task(a2a.request("gate", "probe"))
            await until(lambda: a2a.agent("gate").running == 1)
            probe.cancel()
            await until(lambda: quiet(a2a))
        gate.open()
        assert await a2a.request("gate", "at last") == "at last"


async def test_foreign_errors_are_told_without_their_text():
    async with A2AServer() as a2a:
        a2a.register("bad", failing)
        error = await _error_of(a2a.request("bad", 1))
        assert isinstance(error, AgentFailed)
        assert "secret" not in str(error)


async def test_an_unknown_agent_is_one_clear_error():
    async with A2AServer() as a2a:
        with pytest.raises(AgentUnknown) as refused:
            await a2a.request("x" * 1000, 1)
        assert isinstance(refused.value, NotFound)
        assert len(str(refused.value)) < 200
        with pytest.raises(InvalidRequest):
            await a2a.request("x", 1, turn_class=4)


async def test_a_deadline_ends_the_work_and_one_that_has_passed_begins_none():
    async with A2AServer() as a2a:
        gate = Gate()
        a2a.register("gate", gate)
        for late in (0.0, float("nan"), soon(-1)):
            with pytest.raises(DeadlineExceeded):
                await a2a.request("gate", "late", deadline_s=late)
        assert gate.entered == []
        with pytest.raises(DeadlineExceeded):
            await a2a.request("gate", "slow", deadline_s=soon(0.03))
        await until(lambda: gate.cancelled == ["slow"])
        assert quiet(a2a)


async def test_at_the_deadline_the_caller_learns_even_when_the_agent_does_not_stop():
    async with A2AServer() as a2a:
        done = asyncio.Event()

        async def stubborn(message):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await done.wait()
                raise

        a2a.register("stubborn", stubborn)
        with pytest.raises(DeadlineExceeded):
            await a2a.request("stubborn", 1, deadline_s=soon(0.02))
        assert a2a.agent("stubborn").running == 1
        done.set()
        await until(lambda: quiet(a2a))


async def test_a_hanging_agent_opens_its_breaker_a_hasty_caller_does_not():
    async with A2AServer(circuit_breaker_threshold=3, message_timeout=0.02, worker_threads=50) as a2a:
        a2a.register("hangs", Gate())
        for _ in range(5):
            await _error_of(a2a.request("hangs", 1, deadline_s=soon(0.005)))
        assert a2a.agent("hangs").breaker.state == "closed"
        for _ in range(3):
            await _error_of(a2a.request("hangs", 1, deadline_s=soon(0.03)))
            await until(lambda: quiet(a2a))
        assert a2a.agent("hangs").breaker.state == "open"


async def test_cancelled_callers_leave_nothing_behind():
    async with A2AServer(worker_threads=2, message_queue_size=5) as a2a:
        gate = Gate()
        a2a.register("gate", gate)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(a2a.request("gate", number)) for number in range(6)]
            await until(lambda: a2a.agent("gate").waiting == 4)
            for task in asked:
                task.cancel()
        await until(lambda: quiet(a2a))
        assert sorted(gate.cancelled) == [0, 1]
        gate.open()
        assert await a2a.request("gate", "again") == "again"


async def test_a_call_cancelled_before_its_worker_began_frees_it():
    async with A2AServer(worker_threads=1) as a2a:
        a2a.register("echo", echo)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(a2a.request("echo", 1))
            await asyncio.sleep(0)  # admitted; its worker has not run yet
            asked.cancel()
        await until(lambda: quiet(a2a))
        assert await a2a.request("echo", 2) == 2


async def test_leaving_lets_accepted_work_finish_and_takes_nothing_new():
    gate = Gate()
    a2a = A2AServer(worker_threads=1)
    a2a.register("gate", gate)
    await a2a.start()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(a2a.request("gate", number)) for number in range(3)]
        await until(lambda: a2a.agent("gate").waiting == 2)
        stopping = group.create_task(a2a.stop())
        await asyncio.sleep(0)
        with pytest.raises(Draining):
            await a2a.request("gate", "new")
        gate.open()
    assert [task.result() for task in asked] == [0, 1, 2]
    assert stopping.done()


async def test_what_does_not_finish_is_cancelled_and_told_and_no_task_is_left():
    before = asyncio.all_tasks()
    gate = Gate()
    a2a = A2AServer(worker_threads=1)
    a2a.register("gate", gate)
    await a2a.start()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(_error_of(a2a.request("gate", number))) for number in range(3)]
        await until(lambda: a2a.agent("gate").waiting == 2)
        await a2a.stop(drain_s=0.01)
    assert [type(task.result()) for task in asked] == [TurnCancelled] * 3
    assert asyncio.all_tasks() == before
    assert quiet(a2a)
    async with a2a:
        gate.open()
        assert await a2a.request("gate", "again") == "again"


async def test_one_way_is_accepted_and_done():
    async with A2AServer(worker_threads=1, message_queue_size=1) as a2a:
        gate = Gate()
        a2a.register("gate", gate)
        first = await a2a.send("gate", 1)
        second = await a2a.send("gate", 2)
        assert first != second
        with pytest.raises(AgentBusy):
            await a2a.send("gate", 3)
        gate.open()
        await until(lambda: quiet(a2a))
        assert gate.entered == [1, 2]


async def test_a_broadcast_tells_each_reply_or_error():
    async with A2AServer() as a2a:
        a2a.register("good", echo)
        a2a.register("bad", failing)
        told = await a2a.broadcast("hello")
        assert told["good"] == "hello"
        assert isinstance(told["bad"], AgentFailed)
        assert isinstance((await a2a.broadcast(1, agents=["nobody"]))["nobody"], AgentUnknown)


async def test_a_message_sent_twice_is_worked_on_once():
    async with A2AServer() as a2a, asyncio.TaskGroup() as group:
        gate = Gate()
        a2a.register("gate", gate)
        asked = [group.create_task(a2a.request("gate", number, message_id="m1")) for number in range(3)]
        await until(lambda: gate.entered)
        await a2a.send("gate", 9, message_id="m1")
        gate.open()
        await until(lambda: all(task.done() for task in asked))
        assert [task.result() for task in asked] == [0, 0, 0]
        assert await a2a.request("gate", 4, message_id="m1") == 0
        assert gate.entered == [0]


async def test_a_failed_message_may_be_sent_again():
    async with A2AServer() as a2a:
        tried = []

        async def second_time(message):
            tried.append(1)
            if len(tried) == 1:
                raise RuntimeError
            return "done"

        a2a.register("second", second_time)
        assert isinstance(await _error_of(a2a.request("second", 1, message_id="m")), AgentFailed)
        assert await a2a.request("second", 1, message_id="m") == "done"


async def test_a_failing_instance_is_left_out_and_the_agent_goes_on():
    async with A2AServer(circuit_breaker_threshold=1000) as a2a:

        async def down(message):
            raise ModelUnavailable("refused")

        others = [Instance(f"remote{number}", echo, distance=1) for number in range(3)]
        a2a.register("agent", None, instances=[Instance("sick", down, distance=1), *others])
        for _ in range(200):
            await _error_of(a2a.request("agent", 1))
        errors = [await _error_of(a2a.request("agent", 1)) for _ in range(50)]
        assert errors == [None] * 50
        assert a2a.agent("agent").pool.ejected(time.monotonic()) == 1


async def test_metrics_tell_depth_waits_refusals_and_outcomes():
    metrics = Metrics()
    async with A2AServer(worker_threads=1, message_queue_size=1, metrics=metrics) as a2a:
        gate = Gate()
        a2a.register("gate", gate)
        await a2a.send("gate", 1)
        await a2a.send("gate", 2)
        with pytest.raises(AgentBusy):
            await a2a.send("gate", 3, turn_class=2)
        told = metrics.render().decode()
        assert 'ngx_a2a_waiting{agent="gate"} 1.0' in told
        assert 'ngx_a2a_running{agent="gate"} 1.0' in told
        assert "ngx_a2a_pending 2.0" in told
        assert 'ngx_a2a_refused_total{agent="gate",class="2",reason="mailbox"} 1.0' in told
        gate.open()
        await until(lambda: quiet(a2a))
        told = metrics.render().decode()
        assert 'ngx_a2a_messages_total{agent="gate",outcome="completed"} 2.0' in told
        assert 'ngx_a2a_wait_seconds_count{agent="gate"} 2.0' in told
        assert 'ngx_a2a_service_seconds_count{agent="gate"} 2.0' in told


async def test_refusals_are_logged_once_per_kind_not_per_message(caplog):
    async with A2AServer(worker_threads=1, message_queue_size=1, max_pending_requests=2) as a2a:
        gate = Gate()
        a2a.register("gate", gate)
        await a2a.send("gate", 1)
        await a2a.send("gate", 2)
        for turn_class in (1, 2) * 50:
            await _error_of(a2a.send("gate", 3, turn_class=turn_class))
        told = [record.fields for record in caplog.records if record.getMessage() == "a2a.refused"]
        assert [fields["turn_class"] for fields in told] == [1, 2]
        gate.open()


async def _error_of(asking):
    try:
        await asking
    except NgxError as error:
        return error
    return None
