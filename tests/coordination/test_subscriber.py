from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from ngx_agents.clock import Rng
from ngx_agents.coordination import subscriber
from ngx_agents.coordination.subscriber import MAX_DELAY_S, next_delay_s
from tests.coordination.members import members, until_it_works
from tests.valkey_process import ValkeyProcess, valkey


@pytest.fixture
def server() -> Iterator[ValkeyProcess]:
    with valkey() as server:
        yield server


def test_the_wait_grows_with_failures_within_its_bounds_and_differs() -> None:
    rng = Rng(7)
    waits = [[next_delay_s(failures, rng) for _ in range(200)] for failures in (0, 3, 50)]
    assert [max(each) <= bound for each, bound in zip(waits, (0.1, 0.8, MAX_DELAY_S), strict=True)] == [True] * 3
    assert max(waits[0]) < max(waits[1]) < max(waits[2])
    assert len(set(waits[0])) == 200


async def test_a_server_that_stands_still_is_left_and_heard_again(
    server: ValkeyProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber, "SILENT_S", 0.1)
    monkeypatch.setattr(subscriber, "ANSWER_S", 0.1)
    async with members(f"redis://127.0.0.1:{server.port}") as [one, other]:
        hints = one.listen("channel")
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(anext(hints))
            await asyncio.sleep(0.3)  # silent, but alive: asked and answered
            await other.publish("channel", b"still there")
            assert await heard == b"still there"
            server.stop()
            await asyncio.sleep(0.3)
            server.go_on()
            heard = tasks.create_task(anext(hints))
            while not heard.done():
                await until_it_works(lambda: other.publish("channel", b"again"), within_s=5)
                await asyncio.sleep(0.02)
            assert heard.result() == b"again"


async def test_channels_nobody_listens_to_are_unsubscribed(server: ValkeyProcess) -> None:
    async with members(f"redis://127.0.0.1:{server.port}") as [one, other]:
        hints = one.listen("channel")
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(anext(hints))
            while not heard.done():
                await other.publish("channel", b"hint")
                await asyncio.sleep(0.01)
            await hints.aclose()
            while server.say("PUBSUB", "NUMSUB", "ngx:channel").endswith(b":1\r\n"):  # noqa: ASYNC110  # another process
                await asyncio.sleep(0.01)
        second = one.listen("other")
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            heard = tasks.create_task(anext(second))
            while not heard.done():
                await other.publish("other", b"hint")
                await asyncio.sleep(0.01)
