"""Two processes share an agent over Redis; one is killed under load. Used by the tests of each kind of Redis."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, aclosing

import pytest

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.refusals import AgentBusy, StreamBroken
from ngx_agents.a2a.server import A2AServer
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import NgxError
from ngx_agents.telemetry.metrics import Metrics
from tests.a2a.carrier_conformance import fresh, until_served
from tests.a2a.far_worker import LEASE_S, far_worker
from tests.a2a.teams import KEYS, quiet, soon

DEADLINE_S = 5.0
LATE_S = 3.0  # a loaded machine's loop
REQUESTS = 300
KILL_AT = 100


def asking_server(url: str) -> A2AServer:
    carrier = RedisCarrier(url, keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=LEASE_S)
    return A2AServer(carrier=carrier)


async def every_request_is_answered_once_or_fails_typed_in_time(url: str) -> None:
    agent, told = fresh("shared"), {}

    async def one(a2a: A2AServer, number: int) -> None:
        began_s = time.monotonic()
        outcome: object
        try:
            outcome = await a2a.request(agent, number, deadline_s=soon(DEADLINE_S))
        except NgxError as error:
            outcome = error
        assert number not in told
        told[number] = (outcome, time.monotonic() - began_s)

    with far_worker(url, agent) as killed, far_worker(url, agent) as left:
        async with asking_server(url) as a2a:
            await until_served(a2a, agent)
            async with asyncio.TaskGroup() as group:
                for number in range(REQUESTS):
                    group.create_task(one(a2a, number))
                    if number == KILL_AT:
                        killed.kill()
                    await asyncio.sleep(0.003)
            assert quiet(a2a)
        assert left.poll() is None
    assert sorted(told) == list(range(REQUESTS))
    answered = {number: outcome for number, (outcome, _) in told.items() if not isinstance(outcome, NgxError)}
    assert all(outcome[0] == number for number, outcome in answered.items())
    assert max(took_s for _, took_s in told.values()) < DEADLINE_S + LATE_S
    assert {outcome[1] for outcome in answered.values()} == {killed.pid, left.pid}
    assert len(answered) > 0.9 * REQUESTS
    taken_over = [told[number][1] for number in answered if told[number][1] > LEASE_S / 2]
    assert taken_over, "nothing was in the hands of the killed process"


async def a_stream_that_had_begun_is_broken_and_one_that_had_not_is_told_whole(url: str) -> None:
    agent = fresh("streams")
    with far_worker(url, agent) as killed, far_worker(url, agent) as left:
        async with asking_server(url) as a2a:
            await until_served(a2a, f"{agent}-streams")
            for _ in range(50):  # until one runs in the process that is to die
                async with aclosing(a2a.stream(f"{agent}-streams", None, deadline_s=soon())) as said:
                    _, pid = await anext(said)
                    if pid == killed.pid:
                        killed.kill()
                        with pytest.raises(StreamBroken):
                            _ = [piece async for piece in said]
                        break
            numbers = [piece async for piece in a2a.stream(f"{agent}-streams", None, deadline_s=soon())]
            assert numbers == [[number, left.pid] for number in range(40)]


async def what_a_stopped_process_holds_is_answered_by_the_other(url: str) -> None:
    agent, told = fresh("stopped"), {}

    async def one(a2a: A2AServer, number: int) -> None:
        answer = await a2a.request(agent, number, deadline_s=soon(DEADLINE_S))
        assert number not in told
        told[number] = answer

    with far_worker(url, agent) as stopped, far_worker(url, agent) as left:
        async with asking_server(url) as a2a:
            await until_served(a2a, agent)
            async with asyncio.TaskGroup() as group:
                for number in range(150):
                    group.create_task(one(a2a, number))
                    if number == KILL_AT // 2:
                        stopped.send_signal(signal.SIGSTOP)
                    await asyncio.sleep(0.004)
            assert {pid for _, pid in told.values()} == {stopped.pid, left.pid}
            stopped.send_signal(signal.SIGCONT)
            for number in range(150, 250):  # what it still had is not told a second time
                await one(a2a, number)
            assert quiet(a2a)
    assert all(answer[0] == number for number, answer in told.items())


async def callers_of_a_stopped_process_are_told(url: str) -> None:
    agent = fresh("alone")
    carrier = RedisCarrier(url, keys=KEYS, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=LEASE_S)
    with far_worker(url, agent) as stopped:
        async with A2AServer(carrier=carrier, message_timeout=0.5) as a2a:
            await until_served(a2a, agent)
            stopped.send_signal(signal.SIGSTOP)
            began_s = time.monotonic()
            with pytest.raises(AgentBusy):
                await a2a.request(agent, 1, deadline_s=soon(30.0))
            assert time.monotonic() - began_s < 8.0
            stopped.send_signal(signal.SIGCONT)
            assert (await a2a.request(agent, 2, deadline_s=soon(30.0)))[0] == 2


async def messages_go_on_after_a_failover(url: str, fail: Callable[[], None]) -> None:
    """Each request ends in time, answered or typed; soon after all are answered again, by the same processes."""
    agents = [fresh("failover") for _ in range(4)]  # of a cluster, some on the node that fails
    failed, took_s = 0, []

    async def one(a2a: A2AServer, number: int) -> bool:
        began_s = time.monotonic()
        try:
            answer = await a2a.request(agents[number % len(agents)], number, deadline_s=soon(DEADLINE_S))
        except NgxError:
            return False
        finally:
            took_s.append(time.monotonic() - began_s)
        assert answer[0] == number
        return True

    with ExitStack() as stack:
        for agent in agents:
            stack.enter_context(far_worker(url, agent))
        async with asking_server(url) as a2a:
            for agent in agents:
                await until_served(a2a, agent)
            asking = []
            async with asyncio.TaskGroup() as group:
                for number in range(60):
                    asking.append(group.create_task(one(a2a, number)))
                    if number == 20:
                        await asyncio.wait(asking[:16])
                        await asyncio.to_thread(fail)
                    await asyncio.sleep(0.01)
            failed = sum(not each.result() for each in asking)
            assert sum(each.result() for each in asking[:16]) == 16
            async with asyncio.timeout(30):
                while not all([await one(a2a, number) for number in range(len(agents))]):  # noqa: ASYNC110  # Redis is elsewhere
                    await asyncio.sleep(0.1)
            assert all(await asyncio.gather(*(one(a2a, number) for number in range(40))))
            assert quiet(a2a)
    assert max(took_s) < DEADLINE_S + LATE_S
    assert failed < 60
