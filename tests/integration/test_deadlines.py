"""The time that a caller gives, and a cancel, reach the model's call: nothing goes on that nobody waits for."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.gateway.serving import Client, events_of
from tests.server_process import ServerProcess

ASKED = "Dame consejos para dormir mejor por la noche"


@pytest.fixture(scope="module")
def slow_model() -> Iterator[str]:
    """Says a word each half second, for 25 s."""
    with start_emulator(ttft_ms=100, chunk_gap_ms=500, chunks=50) as url:
        yield url


@pytest.fixture(scope="module")
def server(slow_model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path_factory.mktemp("deadlines"),
        NGX_VERTEX_BASE_URL=slow_model,
        NGX_VERTEX_CACHE_ENABLED="false",
        NGX_SERVER_LOG_LEVEL="error",
    ) as made:
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


async def test_the_time_that_is_given_ends_the_turn_and_the_models_call(
    server: ServerProcess, slow_model: str, session: aiohttp.ClientSession
) -> None:
    api = Client(session, server.base_url)
    path = f"{server.base_url}/v1/conversations/{await api.conversation()}/turns"
    began_s = time.monotonic()
    headers = {"Accept": "text/event-stream", "X-Server-Timeout": "2"}
    async with session.post(path, json={"text": ASKED}, headers=headers) as response:
        [*_, (_, name, data)] = await events_of(response)
    assert time.monotonic() - began_s < 8.0
    assert name == "turn.completed" or json.loads(data)["code"] == "deadline_exceeded"
    await _until_calls(session, slow_model, 0)


async def test_a_cancel_ends_the_models_call(
    server: ServerProcess, slow_model: str, session: aiohttp.ClientSession
) -> None:
    api = Client(session, server.base_url)
    path = f"{server.base_url}/v1/conversations/{await api.conversation()}/turns"
    async with asyncio.timeout(15):
        async with session.post(path, json={"text": ASKED}, headers={"Accept": "text/event-stream"}) as response:
            await response.content.readuntil(b"text.delta")
            turn_id = response.headers["location"].rsplit("/", 1)[1]
            await _until_calls(session, slow_model, 1)
            await api.call("POST", f"/v1/turns/{turn_id}/cancel")
            [*_, (_, name, _)] = await events_of(response)
        await _until_calls(session, slow_model, 0)
    assert name == "turn.cancelled"


@pytest.mark.parametrize("value", ["0", "-1", "soon", "1e3", "", "9999999"])
async def test_a_time_that_cannot_be_meant_is_refused(
    server: ServerProcess, session: aiohttp.ClientSession, value: str
) -> None:
    api = Client(session, server.base_url)
    conversation_id = await api.conversation()
    status, problem = await api.say(conversation_id, "Hola", headers={"X-Server-Timeout": value})
    assert (status, problem["field"]) == (400, "X-Server-Timeout")


async def _until_calls(session: aiohttp.ClientSession, model: str, count: int) -> None:
    """Waits until so many calls are at work at the model."""
    async with asyncio.timeout(10):
        while True:
            async with session.get(model + "/_control") as answer:
                if (await answer.json())["in_flight"] == count:
                    return
            await asyncio.sleep(0.05)
