"""Two real servers behind a real HAProxy are restarted one after the other, under load: nobody notices.

Each client asks, listens to the events, comes back with the last id when the stream ends early (or with the key of its
question, when it waits for the whole answer), and compares what it heard with what is stored. Any status but the
expected one, any broken answer, any lost or doubled text is a failure.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.haproxy_process import haproxy
from tests.integration.several import House, instances
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

CLIENTS = 6
PAGE = 50  # turns of a conversation, all of whose messages are on one page
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class Client:
    """Asks until told to stop. `trouble` is what a user would have seen of the restart."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.trouble: list[str] = []
        self.turns = 0
        self.reconnects = 0
        self.told_to_retry = 0

    async def ask_until(self, done: asyncio.Event, *, is_streamed: bool) -> None:
        conversation_id, answers = "", PAGE
        while not done.is_set():
            if answers == PAGE:
                conversation_id, answers = str((await self._json("POST", "/v1/conversations", 201, {}))["id"]), 0
            path = f"/v1/conversations/{conversation_id}/turns"
            body = {"text": f"Dame un consejo número {self.turns}"}
            said = await (self._heard if is_streamed else self._answered)(path, body)
            self.turns, answers = self.turns + 1, answers + 1
            page = await self._json("GET", f"/v1/conversations/{conversation_id}/messages?limit=200", 200)
            texts = [item["text"] for item in page["items"] if item["role"] == "assistant"]
            if len(texts) != answers or texts[-1] != said:
                self.trouble.append(f"heard {said!r}, stored {texts[-1:]!r}, {len(texts)} of {answers}")

    async def _heard(self, path: str, body: object) -> str:
        """The text of one turn, over as many connections as it takes."""
        text, turn_id, last_id, method = "", "", "", "POST"
        for _ in range(20):
            headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last_id} if last_id else {})
            retry_s = 0.0
            async with self._session.request(
                method, self._url + path, json=body if method == "POST" else None, headers=headers
            ) as answer:
                if answer.status == 503 and method == "GET":
                    await asyncio.sleep(float(answer.headers["Retry-After"]))
                    continue
                if answer.status != 200:
                    self.trouble.append(f"{method} {answer.status}: {await answer.text()}")
                    return text
                async for block in _blocks(answer):
                    retry_s = float(block.get("retry", 1000 * retry_s)) / 1000
                    last_id = block.get("id", last_id)
                    data = json.loads(block.get("data", "{}"))
                    turn_id = data.get("turn_id", turn_id)
                    if block.get("event") == "text.delta":
                        text += data["text"]
                    elif block.get("event") == "text.reset":
                        text = ""
                    elif block.get("event") in ENDS:
                        return text
            method, path = "GET", f"/v1/turns/{turn_id}/events"
            self.reconnects += 1
            await asyncio.sleep(retry_s)
        self.trouble.append(f"{turn_id} never ended")
        return text

    async def _answered(self, path: str, body: object) -> str:
        """The text of one turn as a whole; a turn that went elsewhere is asked for again, under its key."""
        headers = {"Idempotency-Key": f"{id(self)}-{self.turns}"}
        for _ in range(20):
            async with self._session.post(self._url + path, json=body, headers=headers) as answer:
                view = await answer.json(content_type=None)
                if answer.status == 200:
                    return str(view["text"])
                if view["code"] != "draining":
                    break
                self.told_to_retry += 1
                await asyncio.sleep(float(answer.headers["Retry-After"]))
        self.trouble.append(f"POST {answer.status}: {view}")
        return ""

    async def _json(self, method: str, path: str, status: int, body: object = None) -> dict[str, object]:
        async with self._session.request(method, self._url + path, json=body) as answer:
            text = await answer.text()
            if answer.status != status:
                self.trouble.append(f"{method} {path} {answer.status}: {text}")
            answered: dict[str, object] = json.loads(text)
            return answered


async def _blocks(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *frames, rest = (rest + chunk).split(b"\n\n")
        for frame in frames:
            yield dict(line.split(": ", 1) for line in frame.decode().split("\n") if not line.startswith(":"))


def _address(server: ServerProcess) -> str:
    return urlsplit(server.base_url).netloc


async def _restart(house: House, number: int) -> int:
    """The exit code of the one that left."""
    code = await asyncio.to_thread(house.servers[number].stop)
    await asyncio.to_thread(house.servers[number].start)
    await asyncio.sleep(0.5)  # until HAProxy has seen that it is ready
    return code


async def _rolled(house: House, url: str) -> tuple[list[Client], list[int]]:
    done = asyncio.Event()
    clients = [Client(house.session, url) for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as tasks:
        for number, client in enumerate(clients):
            tasks.create_task(client.ask_until(done, is_streamed=number % 3 > 0))
        await asyncio.sleep(0.5)
        codes = [await _restart(house, number) for number in (0, 1)]
        await asyncio.sleep(0.5)
        done.set()
    return clients, codes


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("drain_s", "chunk_gap_ms"),
    [
        pytest.param("20", 10, id="turns finish"),
        pytest.param("0", 30, id="turns are handed over", marks=pytest.mark.slow),
    ],
)
async def test_a_rolling_restart_fails_no_request_and_loses_no_text(
    tmp_path: Path, postgres_server: PostgresServer, drain_s: str, chunk_gap_ms: int
) -> None:
    environ = {"NGX_SERVER_DRAIN_S": drain_s, "NGX_SERVER_DRAIN_DELAY_S": "0.5"}
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with instances(tmp_path, postgres_server, "ab", chunk_gap_ms=chunk_gap_ms, **environ) as servers:
            house = House(servers, session)
            for server in servers:
                server.keeps_port = True
            with haproxy(tmp_path, [_address(server) for server in servers]) as url:
                clients, codes = await _rolled(house, url)
    assert codes == [0, 0]
    assert [each for client in clients for each in client.trouble] == []
    assert all(client.turns > 1 for client in clients)
    sent_away = sum(client.reconnects + client.told_to_retry for client in clients)
    assert (sent_away > 0) == (drain_s == "0")
