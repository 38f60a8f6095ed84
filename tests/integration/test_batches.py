"""`kill -9` in the middle of a batch: every input is answered once, in its order, by whoever is left."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.integration.several import instances
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

INPUTS = 100
WITHIN_S = 60.0
QUESTION = "Dame un consejo breve de entrenamiento numero {}"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as made:
        yield made


async def _handed_in(session: aiohttp.ClientSession, url: str) -> str:
    items = [{"text": QUESTION.format(number), "custom_id": f"n{number}"} for number in range(INPUTS)]
    async with session.post(f"{url}/v1/batches", json={"items": items}) as answer:
        made = await answer.json()
        assert answer.status == 201, made
        return str(made["id"])


async def _shown(session: aiohttp.ClientSession, url: str, batch_id: str) -> dict[str, Any]:
    async with session.get(f"{url}/v1/batches/{batch_id}") as answer:
        return dict(await answer.json())


async def _until(session: aiohttp.ClientSession, url: str, batch_id: str, *, completed: int) -> dict[str, Any]:
    async with asyncio.timeout(WITHIN_S):
        while True:
            batch = await _shown(session, url, batch_id)
            if batch["counts"]["completed"] >= completed or batch["finished_at"] is not None:
                return batch
            await asyncio.sleep(0.02)


async def _check_every_input_once(session: aiohttp.ClientSession, url: str, batch_id: str) -> None:
    async with session.get(f"{url}/v1/batches/{batch_id}/results?limit=200") as answer:
        results = (await answer.json())["items"]
    assert [one["index"] for one in results] == list(range(INPUTS))
    assert Counter(one["status"] for one in results) == {"completed": INPUTS}
    assert len({one["turn_id"] for one in results}) == INPUTS
    assert len({one["conversation_id"] for one in results}) == INPUTS

    async def check(one: dict[str, Any]) -> None:
        async with session.get(f"{url}/v1/conversations/{one['conversation_id']}/messages") as answer:
            said = [message["text"] for message in (await answer.json())["items"]]
        assert said == [QUESTION.format(one["index"]), one["text"]]
        assert one["text"]

    for start in range(0, INPUTS, 25):
        await asyncio.gather(*(check(one) for one in results[start : start + 25]))


async def test_a_killed_server_goes_on_with_its_batch(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    with start_emulator(ttft_ms=100, chunks=4, chunk_gap_ms=20) as model_url:
        server = ServerProcess(tmp_path, NGX_VERTEX_BASE_URL=model_url, NGX_SERVER_LOG_LEVEL="error").start()
        try:
            batch_id = await _handed_in(session, server.base_url)
            for part in (10, 40):
                batch = await _until(session, server.base_url, batch_id, completed=part)
                assert batch["finished_at"] is None, "the kill must come in the middle"
                server.kill()
                server.start()
            batch = await _until(session, server.base_url, batch_id, completed=INPUTS + 1)
            assert (batch["status"], batch["counts"]["completed"]) == ("completed", INPUTS)
            await _check_every_input_once(session, server.base_url, batch_id)
        finally:
            server.kill()


async def test_the_other_instance_goes_on_with_the_batch_of_a_killed_one(
    tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession
) -> None:
    with instances(tmp_path, postgres_server, "ab", chunk_gap_ms=10) as servers:
        batch_id = await _handed_in(session, servers[0].base_url)
        batch = await _until(session, servers[1].base_url, batch_id, completed=10)
        assert batch["finished_at"] is None, "the kill must come in the middle"
        servers[0].kill()
        batch = await _until(session, servers[1].base_url, batch_id, completed=INPUTS + 1)
        assert (batch["status"], batch["counts"]["completed"]) == ("completed", INPUTS)
        await _check_every_input_once(session, servers[1].base_url, batch_id)


async def _many_megabytes(line: bytes, count: int) -> AsyncIterator[bytes]:
    for start in range(0, count, 20):
        yield line * min(20, count - start)


def _rss_mb(server: ServerProcess) -> float:
    for line in Path(f"/proc/{server.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the server has ended")


@pytest.mark.slow
async def test_a_batch_of_forty_megabytes_is_never_in_memory(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    """The last line is none, so nothing of the batch stays and nothing is answered; what was taken in on the way is."""
    server = ServerProcess(tmp_path, NGX_SERVER_LOG_LEVEL="error").start()
    line = b'{"text": "' + b"x" * 8_000 + b'"}\n'
    try:

        async def send(count: int, last: bytes) -> int:
            async def body() -> AsyncIterator[bytes]:
                async for part in _many_megabytes(line, count):
                    yield part
                yield last

            headers = {"Content-Type": "application/jsonl"}
            async with session.post(f"{server.base_url}/v1/batches", data=body(), headers=headers) as answer:
                return answer.status

        assert await send(400, b"{") == 400
        before_mb, most_mb = _rss_mb(server), 0.0
        sending = asyncio.ensure_future(send(5_000, b"{"))
        while not sending.done():
            most_mb = max(most_mb, _rss_mb(server))
            await asyncio.sleep(0.02)
        assert sending.result() == 400
        assert most_mb - before_mb < 20.0, (before_mb, most_mb)
        async with session.get(f"{server.base_url}/v1/batches") as answer:
            assert (await answer.json())["items"] == []
    finally:
        server.kill()
