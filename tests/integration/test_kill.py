"""`kill -9` of the server in the middle of its work: every acknowledged turn is answered, once, in order."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.server_process import ServerProcess

from ngx_agents.clock import Rng

WRITERS = 20
END_WITHIN_S = 30.0
QUESTION = "Dame un consejo breve de entrenamiento numero {}"


class Writer:
    """Asks one question after the other in one conversation, remembering which turns were acknowledged."""

    def __init__(self, session: aiohttp.ClientSession, number: int) -> None:
        self.session = session
        self.number = number
        self.conversation_id = ""
        self.acknowledged: list[str] = []
        self.asked = 0

    async def open(self, base_url: str) -> None:
        async with self.session.post(f"{base_url}/v1/conversations", json={}) as answer:
            self.conversation_id = (await answer.json())["id"]

    async def ask_until_killed(self, base_url: str) -> None:
        url = f"{base_url}/v1/conversations/{self.conversation_id}/turns"
        while True:
            body = {"text": QUESTION.format(f"{self.number}-{self.asked}")}
            self.asked += 1
            try:
                async with self.session.post(url, json=body, headers={"Prefer": "respond-async"}) as answer:
                    if answer.status == 202:
                        self.acknowledged.append((await answer.json())["turn_id"])
            except (aiohttp.ClientError, OSError):
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as made:
        yield made


async def _ended(session: aiohttp.ClientSession, base_url: str, turn_id: str) -> dict[str, object]:
    async with session.get(f"{base_url}/v1/turns/{turn_id}") as answer:
        found: dict[str, object] = await answer.json()
        assert answer.status == 200, found
        return found


async def _wait_for_end(
    session: aiohttp.ClientSession, base_url: str, turn_id: str, within_s: float
) -> dict[str, object]:
    end_s = time.monotonic() + within_s
    while True:
        turn = await _ended(session, base_url, turn_id)
        if turn["status"] not in ("queued", "running") or time.monotonic() > end_s:
            return turn
        await asyncio.sleep(0.05)


async def _stored(session: aiohttp.ClientSession, base_url: str, writer: Writer) -> list[dict[str, str]]:
    items: list[dict[str, str]] = []
    cursor = ""
    while True:
        url = f"{base_url}/v1/conversations/{writer.conversation_id}/messages?limit=100{cursor}"
        async with session.get(url) as answer:
            page = await answer.json()
        items.extend(page["items"])
        if page["next"] is None:
            return items
        cursor = f"&cursor={page['next']}"


def _check(writer: Writer, messages: list[dict[str, str]]) -> None:
    questions = [m["text"] for m in messages if m["role"] == "user"]
    numbers = [int(text.rsplit("-", 1)[1]) for text in questions]
    assert numbers == sorted(set(numbers)), "doubled or out of order"
    assert len(questions) >= len(writer.acknowledged)
    roles = [m["role"] for m in messages]
    assert roles == ["user", "assistant"] * len(questions), "a question without exactly one answer"


async def _round(server: ServerProcess, writers: list[Writer], rng: Rng) -> None:
    async with asyncio.TaskGroup() as tasks:
        for writer in writers:
            tasks.create_task(writer.ask_until_killed(server.base_url))
        await asyncio.sleep(rng.uniform(0.5, 1.5))
        server.kill()
    server.start()


async def _kill_rounds(tmp_path: Path, session: aiohttp.ClientSession, rounds: int) -> None:
    rng = Rng(7)
    with (
        start_emulator(ttft_ms=40, chunks=5, chunk_gap_ms=5) as model_url,
        ServerProcess(tmp_path, NGX_VERTEX_BASE_URL=model_url, NGX_SERVER_LOG_LEVEL="error") as server,
    ):
        writers = [Writer(session, number) for number in range(WRITERS)]
        for writer in writers:
            await writer.open(server.base_url)
        for _ in range(rounds):
            await _round(server, writers, rng)
        restarted_s = time.monotonic()
        for writer in writers:
            for turn_id in writer.acknowledged:
                left_s = END_WITHIN_S - (time.monotonic() - restarted_s)
                turn = await _wait_for_end(session, server.base_url, turn_id, left_s)
                assert turn["status"] == "completed", turn
                assert turn["text"]
        assert sum(len(writer.acknowledged) for writer in writers) > rounds
        for writer in writers:
            _check(writer, await _stored(session, server.base_url, writer))


async def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    await _kill_rounds(tmp_path, session, rounds=1)


@pytest.mark.slow
@pytest.mark.timeout(280)
async def test_nothing_acknowledged_is_lost_in_twenty_kills(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    await _kill_rounds(tmp_path, session, rounds=20)


async def test_a_stream_cut_by_a_kill_ends_with_the_stored_text(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    with (
        start_emulator(ttft_ms=20, chunks=40, chunk_gap_ms=20) as model_url,
        ServerProcess(tmp_path, NGX_VERTEX_BASE_URL=model_url, NGX_SERVER_LOG_LEVEL="error") as server,
    ):
        async with session.post(f"{server.base_url}/v1/conversations", json={}) as answer:
            conversation_id = (await answer.json())["id"]
        client = _Listener()
        url = f"{server.base_url}/v1/conversations/{conversation_id}/turns"
        headers = {"Accept": "text/event-stream"}
        async with session.post(url, json={"text": QUESTION.format(1)}, headers=headers) as answer:
            await client.listen(answer, until_deltas=3)
            server.kill()
        assert client.text
        server.start()
        headers = {"Last-Event-ID": client.last_id}
        async with session.get(f"{server.base_url}/v1/turns/{client.turn_id}/events", headers=headers) as answer:
            await client.listen(answer)
        turn = await _ended(session, server.base_url, client.turn_id)
    assert turn["status"] == "completed"
    assert client.text == turn["text"]
    assert client.terminals == ["turn.completed"]


class _Listener:
    def __init__(self) -> None:
        self.text = ""
        self.last_id = ""
        self.turn_id = ""
        self.terminals: list[str] = []
        self._deltas = 0

    async def listen(self, answer: aiohttp.ClientResponse, until_deltas: int = 10**9) -> None:
        assert answer.status == 200
        name = ""
        async for raw in answer.content:
            line = raw.decode().rstrip("\n")
            if line.startswith("id: "):
                self.last_id = line[4:]
            elif line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                self._hear(name, json.loads(line[6:]))
                if self._deltas >= until_deltas:
                    return

    def _hear(self, name: str, data: dict[str, str]) -> None:
        if name == "turn.accepted":
            self.turn_id = data["turn_id"]
        elif name == "text.reset":
            self.text = ""
        elif name == "text.delta":
            self.text += data["text"]
            self._deltas += 1
        elif name in ("turn.completed", "turn.failed", "turn.cancelled"):
            self.terminals.append(name)
