"""Two real servers behind a real HAProxy are restarted one after the other, under load: nobody notices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.haproxy_process import STATS, haproxy, servers_up
from tests.integration.several import House, instances
from tests.integration.steady_client import SteadyClient
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

CLIENTS = 6


def _address(server: ServerProcess) -> str:
    return urlsplit(server.base_url).netloc


async def _restart(house: House, url: str, number: int) -> int:
    """The exit code of the one that left; its successor is there, and HAProxy has seen it."""
    code = await asyncio.to_thread(house.servers[number].stop)
    await asyncio.to_thread(house.servers[number].start)
    async with asyncio.timeout(20):
        up = set[int]()
        while number not in up:
            await asyncio.sleep(0.05)
            async with house.session.get(f"{url}{STATS};csv") as answer:
                up = servers_up(await answer.text())
    return code


async def _rolled(house: House, url: str) -> tuple[list[SteadyClient], list[int]]:
    done = asyncio.Event()
    clients = [SteadyClient(house.session, url) for _ in range(CLIENTS)]
    async with asyncio.TaskGroup() as tasks:
        for number, client in enumerate(clients):
            tasks.create_task(client.ask_until(done, is_streamed=number % 3 > 0))
        await asyncio.sleep(0.5)
        codes = [await _restart(house, url, number) for number in (0, 1)]
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
    sent_away = sum(client.came_back for client in clients)
    assert (sent_away > 0) == (drain_s == "0")
