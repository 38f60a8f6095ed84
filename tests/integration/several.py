"""Several real `ngx serve` on one Postgres, and a client that talks to each of them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from tests.emulator_process import start_emulator
from tests.postgres_process import PostgresServer
from tests.server_process import ServerProcess


class House:
    """Instances, and a client of each."""

    def __init__(self, servers: list[ServerProcess], session: aiohttp.ClientSession) -> None:
        self.servers = servers
        self.session = session

    def url(self, number: int) -> str:
        return self.servers[number].base_url

    async def post(self, number: int, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        async with self.session.post(self.url(number) + path, json=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def conversation(self) -> str:
        _, made = await self.post(0, "/v1/conversations", {})
        found: str = made["id"]
        return found

    async def begin(self, number: int, conversation_id: str, text: str, **body: str) -> str:
        path = f"/v1/conversations/{conversation_id}/turns"
        status, turn = await self.post(number, path, {"text": text, **body}, Prefer="respond-async")
        assert status == 202, turn
        found: str = turn["turn_id"]
        return found

    async def events(self, number: int, turn_id: str, after: str = "") -> AsyncIterator[tuple[str, Any, str, float]]:
        """(name, data, id, when it came)."""
        headers = {"Last-Event-ID": after} if after else {}
        url = f"{self.url(number)}/v1/turns/{turn_id}/events"
        async with self.session.get(url, headers=headers) as answer:
            rest = b""
            async for chunk in answer.content.iter_any():
                *frames, rest = (rest + chunk).split(b"\n\n")
                for frame in frames:
                    fields = dict(line.split(": ", 1) for line in frame.decode().split("\n") if ": " in line)
                    if "event" in fields:
                        yield fields["event"], json.loads(fields["data"]), fields.get("id", ""), time.monotonic()

    async def heard(self, number: int, turn_id: str, after: str = "") -> tuple[str, str, int]:
        """(text of a listener who obeys resets, the last event's name, resets)."""
        text, last, resets = "", "", 0
        async for name, data, _, _ in self.events(number, turn_id, after):
            last = name
            if name == "text.delta":
                text += data["text"]
            elif name == "text.reset":
                text, resets = "", resets + 1
        return text, last, resets

    async def messages(self, number: int, conversation_id: str) -> list[dict[str, Any]]:
        async with self.session.get(
            f"{self.url(number)}/v1/conversations/{conversation_id}/messages?limit=100"
        ) as answer:
            items: list[dict[str, Any]] = (await answer.json())["items"]
            return items


@contextmanager
def instances(
    folder: Path,
    postgres: PostgresServer,
    names: str,
    *,
    chunk_gap_ms: int = 25,
    each: Mapping[str, Mapping[str, str]] | None = None,
    **environ: str,
) -> Iterator[list[ServerProcess]]:
    """One server for each letter of `names`, on a new database; all are ended, however they are. `each` has what is
    particular to one."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        journal = postgres.url(pool.submit(lambda: asyncio.run(postgres.create_database())).result())
        model_url = stack.enter_context(start_emulator(ttft_ms=30, chunks=40, chunk_gap_ms=chunk_gap_ms))
        servers = [
            _server(folder / name, journal, model_url, **{**environ, **(each or {}).get(name, {})}) for name in names
        ]
        for server in servers:
            stack.callback(server.kill)
        servers[0].start()  # it makes the tables
        list(pool.map(ServerProcess.start, servers[1:]))
        yield servers


def _server(folder: Path, journal: str, model_url: str, **environ: str) -> ServerProcess:
    folder.mkdir()
    usual = {
        "NGX_JOURNAL_URL": journal,
        "NGX_SECRET_KEY": "the same secret on every instance of it",
        "NGX_VERTEX_BASE_URL": model_url,
        "NGX_VERTEX_CACHE_ENABLED": "false",
        "NGX_SERVER_LOG_LEVEL": "error",
    }
    return ServerProcess(folder, **{name: value for name, value in (usual | environ).items() if value})
