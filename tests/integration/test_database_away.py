"""A real server whose Postgres dies and comes back: what is refused, what is taken locally, what is told later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.postgres_process import PostgresServer
from tests.server_process import ServerProcess

QUESTION = "Quiero un plan de fuerza de 3 días por semana"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """One of its own: it is killed."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
async def journal(postgres: PostgresServer) -> str:
    return postgres.url(await postgres.create_database())


def _server(folder: Path, journal: str, **environ: str) -> ServerProcess:
    folder.mkdir(exist_ok=True)
    return ServerProcess(
        folder,
        NGX_JOURNAL_URL=journal,
        NGX_SECRET_KEY="the same secret on every instance of it",
        NGX_SERVER_LOG_LEVEL="error",
        **environ,
    )


class Client:
    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        async with self._session.request(method, self._url + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers

    async def say(self, conversation_id: str, text: str) -> tuple[int, Any, Any]:
        return await self.call("POST", f"/v1/conversations/{conversation_id}/turns", {"text": text})

    async def conversation(self) -> str:
        _, made, _ = await self.call("POST", "/v1/conversations", {})
        found: str = made["id"]
        return found

    async def mode(self) -> str:
        """The journal's own mode."""
        _, told, _ = await self.call("GET", "/readyz")
        found: str = told["journal"]
        return found

    async def until_operating(self, mode: str, within_s: float = 20.0) -> None:
        """Waits for the server's operating mode."""
        end_s = time.monotonic() + within_s
        while (await self.call("GET", "/readyz"))[1]["mode"] != mode:
            assert time.monotonic() < end_s, f"never {mode}"
            await asyncio.sleep(0.1)

    async def until(self, mode: str, within_s: float = 20.0) -> None:
        end_s = time.monotonic() + within_s
        while await self.mode() != mode:
            assert time.monotonic() < end_s, f"never {mode}, but {await self.mode()}"
            await asyncio.sleep(0.1)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


async def test_without_its_database_a_server_refuses_turns_with_the_time_to_wait_and_comes_back(
    postgres: PostgresServer, journal: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    with _server(tmp_path / "a", journal) as server:
        client = Client(session, server.base_url)
        conversation_id = await client.conversation()
        assert (await client.say(conversation_id, QUESTION))[0] == 200
        postgres.kill()
        try:
            status, problem, headers = await client.say(conversation_id, "¿Y mañana?")
            assert (status, problem["code"]) == (503, "journal_unavailable")
            assert int(headers["Retry-After"]) >= 1
            await client.until("read-only")
            await client.until_operating("read-only")
            status, problem, headers = await client.say(conversation_id, "¿Y mañana?")
            assert (status, problem["code"]) == (503, "read_only")
            assert (int(headers["Retry-After"]) >= 1, headers["NGX-Mode"]) == (True, "read-only")
        finally:
            postgres.start()
        await client.until("normal")
        await client.until_operating("normal")
        status, turn, _ = await client.say(conversation_id, "¿Y mañana?")
        assert (status, turn["status"], turn["durability"]) == (200, "completed", "journal")
        _, page, _ = await client.call("GET", f"/v1/conversations/{conversation_id}/messages")
        assert [message["role"] for message in page["items"]] == ["user", "assistant"] * 2


async def test_what_is_accepted_locally_is_marked_so_and_told_to_the_database_when_it_is_back(
    postgres: PostgresServer, journal: str, tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    with _server(tmp_path / "a", journal, NGX_JOURNAL_LOCAL_ACCEPTANCE="true") as server:
        client = Client(session, server.base_url)
        conversation_id = await client.conversation()
        assert (await client.say(conversation_id, QUESTION))[0] == 200
        postgres.kill()
        try:
            await client.until("local")
            await client.until_operating("degraded-1")
            for number in range(3):
                status, turn, _ = await client.say(conversation_id, f"Otra cosa {number}")
                assert status == 200, turn
                assert (turn["status"], turn["durability"]) == ("completed", "local")
            server.kill()  # what was acknowledged is on its disk
            server.start()  # also without a database
            client = Client(session, server.base_url)
            status, problem, _ = await client.say(conversation_id, "Otra cosa 3")  # and without copies in memory
            assert (status, problem["code"]) == (503, "journal_unavailable")
        finally:
            postgres.start()
        await client.until("normal")
        _, page, _ = await client.call("GET", f"/v1/conversations/{conversation_id}/messages")
        asked = [message["text"] for message in page["items"] if message["role"] == "user"]
        assert asked == [QUESTION, *(f"Otra cosa {number}" for number in range(3))]
        assert [message["role"] for message in page["items"]] == ["user", "assistant"] * 4
        status, turn, _ = await client.say(conversation_id, "¿Y ahora?")
        assert (status, turn["durability"]) == (200, "journal")


@pytest.mark.parametrize(
    ("change", "told"),
    [("wrong password", "password"), ("nobody there", "cannot be reached"), ("no database", "database")],
)
def test_a_database_that_cannot_be_used_is_told_in_one_line(
    postgres: PostgresServer, tmp_path: Path, change: str, told: str
) -> None:
    url = {
        "wrong password": postgres.url("postgres", password="wrong-password"),
        "nobody there": "postgresql://u:wrong-password@127.0.0.1:1/db",
        "no database": postgres.url("nothing_of_that_name"),
    }[change]
    from tests.cli.command import ngx

    done = ngx("serve", "--port", "0", "--data-dir", "data", cwd=tmp_path, NGX_JOURNAL_URL=url, NGX_SECRET_KEY="k" * 32)
    assert done.returncode in (1, 2)
    [line] = [line for line in done.stderr.splitlines() if line.startswith("ngx:")]
    assert told in line
    assert "wrong-password" not in done.stderr
