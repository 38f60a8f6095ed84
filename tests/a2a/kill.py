"""Two processes share an agent over Redis; one is killed under load. Used by the tests of each kind of Redis."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import pytest
from tests.a2a.carrier_conformance import fresh, until_served
from tests.a2a.far_worker import LEASE_S, far_worker
from tests.a2a.teams import quiet, soon

from ngx_agents.a2a.redis_carrier import RedisCarrier
from ngx_agents.a2a.refusals import StreamBroken
from ngx_agents.a2a.server import A2AServer
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.errors import NgxError
from ngx_agents.telemetry.metrics import Metrics

DEADLINE_S = 5.0
LATE_S = 0.5  # a loaded machine's loop
REQUESTS = 300
KILL_AT = 100


def asking_server(url: str) -> A2AServer:
    carrier = RedisCarrier(url, clock=SystemClock(), rng=Rng(), metrics=Metrics(), lease_s=LEASE_S)
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
