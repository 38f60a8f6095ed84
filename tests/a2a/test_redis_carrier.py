"""The carrier over Redis Streams, on one real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.refusals import AgentBusy
from ngx_agents.a2a.server import A2AServer
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import NgxError, SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.telemetry.traces import Traces
from tests.a2a import kill
from tests.a2a.carrier_conformance import *  # noqa: F403
from tests.a2a.carrier_conformance import fresh, until_served
from tests.a2a.teams import KEYS, Gate, echo, soon, until
from tests.ports import free_port
from tests.valkey_process import SERVICE, ValkeyProcess, valkey, valkey_sentinels


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


@pytest.fixture
def connect(server):
    return lambda: RedisCarrier(
        f"redis://127.0.0.1:{server.port}", keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=0.5
    )


async def test_a_killed_process_costs_no_request_its_answer_and_none_gets_two(server):
    await kill.every_request_is_answered_once_or_fails_typed_in_time(f"redis://127.0.0.1:{server.port}")


async def test_a_killed_process_breaks_the_streams_it_had_begun(server):
    await kill.a_stream_that_had_begun_is_broken_and_one_that_had_not_is_told_whole(f"redis://127.0.0.1:{server.port}")


async def test_redis_that_is_not_there_is_told_in_time_and_found_when_it_comes():
    port = free_port()
    async with A2AServer(carrier=carrier_to(port)) as a2a:
        a2a.register("here", echo)
        assert await a2a.request("here", 1) == 1
        with pytest.raises(SharedUnavailable):
            await a2a.request("elsewhere", 1, deadline_s=soon(2))
        with valkey(port=port):
            async with A2AServer(carrier=carrier_to(port)) as other:
                other.register("elsewhere", echo)
                async with asyncio.timeout(10):
                    while await reply_of(a2a.request("elsewhere", 1)) != 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)


async def test_messages_go_on_when_redis_comes_back_empty():
    with valkey() as first:
        async with A2AServer(carrier=carrier_to(first.port)) as a2a, A2AServer(carrier=carrier_to(first.port)) as other:
            other.register("agent", echo)
            await until_served(a2a, "agent")
            first.kill()
            with valkey(port=first.port):
                async with asyncio.timeout(15):
                    while await reply_of(a2a.request("agent", 1, deadline_s=soon(0.5))) != 1:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)


async def test_a_parcel_that_cannot_be_read_is_a_dead_letter_and_holds_nobody_up(server):
    agent = fresh()
    async with A2AServer(carrier=carrier_to(server.port)) as a2a, A2AServer(carrier=carrier_to(server.port)) as other:
        other.register(agent, echo)
        await until_served(a2a, agent)
        server.say("XADD", f"ngx:a2a:{{{agent}}}:q1", "*", "p", b"\xc1 nonsense")
        server.say("XADD", f"ngx:a2a:{{{agent}}}:q1", "*", "other", "field")
        assert await a2a.request(agent, 1) == 1
        await until(lambda: server.say("XLEN", f"ngx:a2a:{{{agent}}}:dead") == b":2\r\n")
        await until(lambda: server.say("XLEN", f"ngx:a2a:{{{agent}}}:q1") == b":0\r\n")


async def test_everything_in_redis_expires_and_nothing_is_left_of_what_was_answered(server):
    server.say("FLUSHALL")
    agent = fresh()
    async with A2AServer(carrier=carrier_to(server.port)) as a2a, A2AServer(carrier=carrier_to(server.port)) as other:
        other.register(agent, echo)
        await until_served(a2a, agent)
        for number in range(20):
            await a2a.request(agent, number)
        keys = server.say("KEYS", "*").split(b"\r\n")[2::2]
        assert len(keys) == 8  # four queues, served, standing, two inboxes
        for key in keys:
            assert 0 < int(server.say("PTTL", key)[1:]) <= 600_000
        for queue in range(4):
            await until(lambda queue=queue: server.say("XLEN", f"ngx:a2a:{{{agent}}}:q{queue}") == b":0\r\n")


async def test_under_standing_load_a_message_waits_half_a_second_also_in_redis(server):
    agent, gate = fresh(), Gate()

    async def held(message):
        return await gate(message) if message.payload == "first" else message.payload

    async with (
        A2AServer(carrier=carrier_to(server.port)) as a2a,
        A2AServer(carrier=carrier_to(server.port), worker_threads=1, max_pending_requests=1) as other,
    ):
        other.register(agent, held)
        await until_served(a2a, agent)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(a2a.request(agent, "first", deadline_s=soon()))
            await until(lambda: gate.entered)
            waiting = [group.create_task(refused_after_s(a2a, agent)) for _ in range(2)]
            await until(lambda: server.say("XLEN", f"ngx:a2a:{{{agent}}}:q1") == b":3\r\n")
            standing = f"ngx:a2a:{{{agent}}}:standing"
            since_ms = int(server.say("GET", standing).split(b"\r\n")[1])
            server.say("SET", standing, str(since_ms - 5000), "PX", "60000")
            took_s = [await each for each in waiting]
            gate.open()
        assert running.result() == "first"
        assert all(0.4 < each < 4.0 for each in took_s)  # of the five that they would wait otherwise


async def refused_after_s(a2a: A2AServer, agent: str) -> float:
    began_s = time.monotonic()
    with pytest.raises(AgentBusy) as refused:
        await a2a.request(agent, "later", deadline_s=soon())
    assert refused.value.reason == "waited"
    return time.monotonic() - began_s


async def test_a_process_that_stands_still_loses_what_it_holds_to_the_other(server):
    await kill.what_a_stopped_process_holds_is_answered_by_the_other(f"redis://127.0.0.1:{server.port}")


async def test_when_the_only_process_stands_still_callers_are_told_in_time(server):
    await kill.callers_of_a_stopped_process_are_told(f"redis://127.0.0.1:{server.port}")


@pytest.mark.slow
async def test_messages_go_on_after_a_failover_by_sentinels():
    with valkey_sentinels() as ([master, _], sentinels):
        url = "redis+sentinel://" + ",".join(f"127.0.0.1:{one.port}" for one in sentinels) + f"/{SERVICE}"
        await kill.messages_go_on_after_a_failover(url, master.kill)


async def test_spans_are_linked_across_processes(server):
    exporter = InMemorySpanExporter()
    agent = fresh()
    async with (
        Traces(exporter=exporter) as traces,
        A2AServer(carrier=carrier_to(server.port), traces=traces) as a2a,
        A2AServer(carrier=carrier_to(server.port), traces=traces) as other,
    ):
        other.register(agent, echo)
        await until_served(a2a, agent)
        with traces.span("turn"):
            await a2a.request(agent, 1)
    turn = next(span for span in exporter.get_finished_spans() if span.name == "turn")
    handled = [span for span in exporter.get_finished_spans() if span.name == "a2a.handle"]
    below = [span for span in handled if span.parent and span.parent.span_id == turn.context.span_id]
    assert len(below) == 1
    assert below[0].context.trace_id == turn.context.trace_id
    assert below[0].attributes["agent"] == agent


def carrier_to(port: int) -> RedisCarrier:
    return RedisCarrier(
        f"redis://127.0.0.1:{port}",
        keys=KEYS,
        clock=SystemClock(),
        rng=Rng(),
        metrics=Metrics(),
        timeout_s=0.5,
        lease_s=0.5,
    )


async def reply_of(asking):
    try:
        return await asking
    except NgxError as error:
        return error
