"""One real `ngx serve --workers 2` on Postgres: one address, one set of numbers; workers die and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.integration.steady_client import SteadyClient
from tests.postgres_process import PostgresServer, postgres_server
from tests.server_process import ServerProcess

__all__ = ["postgres_server"]

CLIENTS = 6
WORKERS = {"NGX_WORKERS": "2", "NGX_SERVER_DRAIN_S": "5"}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as made:
        yield made


def _workers(server: ServerProcess) -> list[int]:
    """Their process ids, oldest first."""
    listed = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text()
    return [int(pid) for pid in listed.split()]


def _is_there(pid: int) -> bool:
    """A process that ended and was not yet waited for has no command line any more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


async def _until(check: Callable[[], bool], within_s: float = 30.0) -> None:
    async with asyncio.timeout(within_s):
        while not check():  # noqa: ASYNC110 - a process tells nothing
            await asyncio.sleep(0.05)


async def _metric(house: House, name: str) -> float:
    """The sum of all lines of that metric, as anybody who scrapes the server sees it."""
    async with house.session.get(f"{house.url(0)}/metrics") as answer:
        text = await answer.text()
    return sum(float(value) for value in re.findall(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE))


@pytest.mark.timeout(120)
async def test_workers_die_and_are_replaced_and_nothing_is_lost_or_doubled(
    tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession
) -> None:
    with instances(tmp_path, postgres_server, "a", **WORKERS) as [server]:
        house, done = House([server], session), asyncio.Event()
        await _until(lambda: len(_workers(server)) == 2)
        clients = [SteadyClient(session, server.base_url, bears_kills=True) for _ in range(CLIENTS)]
        async with asyncio.TaskGroup() as tasks:
            for number, client in enumerate(clients):
                tasks.create_task(client.ask_until(done, is_streamed=number % 3 > 0))
            await asyncio.sleep(1.0)
            for _ in range(2):
                os.kill(_workers(server)[0], signal.SIGKILL)
                await asyncio.sleep(2.5)
            done.set()
        assert [each for client in clients for each in client.trouble] == []
        assert sum(client.came_back for client in clients) > 0
        await _until(lambda: len(_workers(server)) == 2)
        await _check_numbers(house)
        await _check_that_nobody_is_left(server)


async def _check_numbers(house: House) -> None:
    """They only grow, whichever worker answers, and hold what the dead ones had told."""
    counted = [await _metric(house, "ngx_http_requests_total") for _ in range(10)]
    assert counted == sorted(counted)
    # what was counted in the last two seconds of each dead one is lost, and a living one tells every two seconds
    async with asyncio.timeout(10):
        while not await _metric(house, "ngx_turns_total") > 0:  # noqa: ASYNC110 - a process tells nothing
            await asyncio.sleep(0.1)
    assert await _metric(house, "ngx_worker_restarts_total") == 2


async def _check_that_nobody_is_left(server: ServerProcess) -> None:
    workers = _workers(server)
    server.kill()
    await _until(lambda: not any(_is_there(pid) for pid in workers), within_s=20)


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_worker_that_dies_again_and_again_is_given_up_and_the_other_goes_on(
    tmp_path: Path, postgres_server: PostgresServer, session: aiohttp.ClientSession
) -> None:
    with instances(tmp_path, postgres_server, "a", **WORKERS) as [server]:
        house = House([server], session)
        await _until(lambda: len(_workers(server)) == 2)
        survivor = _workers(server)[0]
        for _ in range(6):
            await _until(lambda: len(_workers(server)) == 2)
            os.kill(next(pid for pid in _workers(server) if pid != survivor), signal.SIGKILL)
            await _until(lambda: len(_workers(server)) == 1)
        await asyncio.sleep(0.5)
        assert _workers(server) == [survivor]
        assert await _metric(house, "ngx_workers_given_up") == 1
        assert await _metric(house, "ngx_worker_restarts_total") == 5
        turn_id = await house.begin(0, await house.conversation(), "Dame un consejo")
        assert (await house.heard(0, turn_id))[1] == "turn.completed"
        assert server.stop() == 0
