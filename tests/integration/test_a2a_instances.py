"""A2A on two instances of one Postgres: begun at one, heard, cancelled, resumed at the other; one killed mid-task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.gateway.a2a.wire import Caller, all_of, message_of, states_in, text_in
from tests.integration.several import instances
from tests.postgres_process import *  # noqa: F403
from tests.postgres_process import PostgresServer
from tests.server_process import ServerProcess

NOW = {"returnImmediately": True}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[list[ServerProcess]]:
    folder = tmp_path_factory.mktemp("two")
    with instances(folder, postgres_server, "ab", NGX_A2A_TEST_AGENT="true") as started:
        yield started


@pytest.fixture
async def on(servers: list[ServerProcess]) -> AsyncIterator[list[Caller]]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        callers = [
            Caller(session, server.base_url, binding, {"A2A-Version": "1.0"})
            for server, binding in zip(servers, ("jsonrpc", "rest"), strict=True)
        ]
        for one in callers:
            await one.call("ListTasks", {})  # the first request loads the SDK
        yield callers


def state(task: dict[str, object]) -> object:
    return task["status"]["state"]  # type: ignore[index]


async def test_a_task_of_one_instance_is_heard_at_both_alike(on: list[Caller]) -> None:
    task = await on[0].task("chunks 60", config=NOW)
    streams = await asyncio.gather(*(all_of(one.stream("SubscribeToTask", {"id": task["id"]})) for one in on))
    for events in streams:
        assert text_in(events) == "".join(f"piece {number}. " for number in range(1, 61))
        assert states_in(events)[-1] == "COMPLETED"
    assert await on[0].call("GetTask", {"id": task["id"]}) == await on[1].call("GetTask", {"id": task["id"]})


async def test_a_task_is_cancelled_at_the_other_instance(on: list[Caller]) -> None:
    task = await on[0].task("slow 40", config=NOW)
    cancelled = await on[1].call("CancelTask", {"id": task["id"]})
    assert state(cancelled) == "TASK_STATE_CANCELED"
    assert state(await on[0].call("GetTask", {"id": task["id"]})) == "TASK_STATE_CANCELED"


async def test_a_task_that_asked_is_resumed_at_the_other_instance(on: list[Caller]) -> None:
    asked = await on[0].task("input")
    listening = asyncio.create_task(all_of(on[0].stream("SubscribeToTask", {"id": asked["id"]})))
    await asyncio.sleep(0.3)
    done = await on[1].task("blue", taskId=asked["id"])
    assert state(done) == "TASK_STATE_COMPLETED"
    assert states_in(await listening) == ["INPUT_REQUIRED", "WORKING", "COMPLETED"]


async def test_messages_to_a_busy_task_wait_for_its_one_executor(on: list[Caller]) -> None:
    first = await on[0].task("slow 1", config=NOW)
    await asyncio.gather(*(one.task(f"echo {number}", taskId=first["id"]) for number, one in enumerate(on)))
    done = await on[0].call("GetTask", {"id": first["id"]})
    texts = [artifact["parts"][0]["text"] for artifact in done["artifacts"]]
    assert texts[0] == "That took 1 seconds."
    assert sorted(texts[1:]) == ["0", "1"]


@pytest.mark.slow
async def test_a_task_of_a_killed_instance_goes_on_at_the_other(servers: list[ServerProcess], on: list[Caller]) -> None:
    begun = asyncio.get_running_loop().time()
    events = on[0].stream("SendStreamingMessage", message_of("slow 3"))
    task_id = (await anext(events))["task"]["id"]
    listening = asyncio.create_task(all_of(on[1].stream("SubscribeToTask", {"id": task_id}), within_s=50))
    await asyncio.sleep(0.5)
    servers[0].kill()
    heard = await listening
    assert states_in(heard)[-1] == "COMPLETED"
    assert text_in(heard) == "That took 3 seconds."
    assert asyncio.get_running_loop().time() - begun < 30  # taken over within 10 s, done 3 s later, on a busy machine
    await events.aclose()  # type: ignore[attr-defined]  # a generator
    servers[0].start()
