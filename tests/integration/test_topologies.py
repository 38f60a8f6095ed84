"""A real server on more than one Postgres: users in shards of two, and a standby that answers for its primary."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from tests.postgres_process import PostgresServer
from tests.server_process import ServerProcess

from ngx_agents.state.ids import shard_of

SECRET = "the same secret on every instance of it"
LOW = next(name for name in map(str, range(999)) if shard_of(name) < 128)
HIGH = next(name for name in map(str, range(999)) if shard_of(name) >= 128)
PLACES = {"0-127": "low", "128-255": "high"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


def _server(folder: Path, **environ: str) -> ServerProcess:
    return ServerProcess(folder, NGX_SECRET_KEY=SECRET, NGX_SERVER_LOG_LEVEL="error", **environ)


class Client:
    """One user's."""

    def __init__(self, session: aiohttp.ClientSession, url: str, user: str | None = None) -> None:
        self._session = session
        self._url = url
        token = jwt.encode({"sub": user, "exp": time.time() + 600}, SECRET) if user is not None else None
        self._headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        self._conversation = ""

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any, Any]:
        async with self._session.request(method, self._url + path, json=body, headers=self._headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def say(self, text: str) -> tuple[int, Any, Any]:
        if not self._conversation:
            _, made, _ = await self.call("POST", "/v1/conversations", {})
            self._conversation = made["id"]
        return await self.call("POST", f"/v1/conversations/{self._conversation}/turns", {"text": text})

    async def asked(self) -> list[str]:
        status, page, _ = await self.call("GET", f"/v1/conversations/{self._conversation}/messages")
        assert status == 200, page
        return [message["text"] for message in page["items"] if message["role"] == "user"]


@pytest.fixture(scope="module")
def two() -> Iterator[dict[str, PostgresServer]]:
    with PostgresServer() as low, PostgresServer() as high:
        yield {"low": low, "high": high}


async def test_the_users_of_a_server_that_is_away_wait_and_the_others_notice_nothing(
    two: dict[str, PostgresServer], tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    urls = {name: server.url(await server.create_database()) for name, server in two.items()}
    shards = tmp_path / "shards.json"
    shards.write_text(json.dumps({"servers": urls, "places": PLACES}))
    shards.chmod(0o600)
    folder = tmp_path / "a"
    folder.mkdir()
    with _server(folder, NGX_JOURNAL_SHARDS=str(shards), NGX_AUTH="jwt", NGX_JWT_SECRET=SECRET) as server:
        ana, ben = Client(session, server.base_url, LOW), Client(session, server.base_url, HIGH)
        assert [(await one.say("uno"))[0] for one in (ana, ben)] == [200, 200]
        two["high"].kill()
        try:
            for number in range(5):
                status, turn, _ = await ana.say(f"Otra cosa {number}")
                assert (status, turn["status"]) == (200, "completed")
            status, problem, headers = await ben.say("dos")
            assert (status, problem["code"]) == (503, "journal_unavailable")
            assert int(headers["Retry-After"]) >= 1
        finally:
            two["high"].start()
        await _until_taken(ben, "tres")
        asked = await ben.asked()
        assert (asked[0], asked[-1]) == ("uno", "tres")
        assert await ana.asked() == ["uno", *(f"Otra cosa {number}" for number in range(5))]


async def test_a_standby_answers_for_its_primary(tmp_path: Path, session: aiohttp.ClientSession) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    with ExitStack() as stack:
        primary = stack.enter_context(PostgresServer())
        url = primary.url()
        standby = primary.replica()
        stack.callback(standby.remove)
        stack.callback(standby.stop)
        environ = {
            "NGX_JOURNAL_URL": url,
            "NGX_JOURNAL_REPLICA_URLS": standby.url(),
            "NGX_JOURNAL_MEMORY_BYTES": "0",
        }
        server = stack.enter_context(_server(folder, **environ))
        ana = Client(session, server.base_url)
        for number in range(3):
            status, turn, _ = await ana.say(f"Cosa {number}")
            assert (status, turn["status"]) == (200, "completed")
            assert (await ana.asked())[-1] == f"Cosa {number}"
        await asyncio.sleep(1)  # the standby has it all
        primary.kill()
        try:
            assert (await ana.say("ahora no"))[0] == 503
            assert await ana.asked() == ["Cosa 0", "Cosa 1", "Cosa 2"]
        finally:
            primary.start()
        await _until_taken(ana, "ahora")
        assert (await ana.asked())[-1] == "ahora"


async def _until_taken(client: Client, text: str, within_s: float = 20.0) -> None:
    end_s = time.monotonic() + within_s
    while (await client.say(text))[0] != 200:
        assert time.monotonic() < end_s, "the server never came back"
        await asyncio.sleep(0.2)
