"""In mode degraded 2 a turn whose listener has left is stopped, also where a gateway passes it on from a worker."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.postgres_process import PostgresServer, postgres_server

__all__ = ["postgres_server"]

ROLES = {"a": {"NGX_ROLE": "gateway"}, "b": {"NGX_ROLE": "worker"}}


async def _turn(house: House, turn_id: str) -> Any:
    async with house.session.get(f"{house.url(0)}/v1/turns/{turn_id}") as answer:
        return await answer.json()


async def _until_mode(house: House, mode: str) -> None:
    async with asyncio.timeout(10):
        while True:
            async with house.session.get(f"{house.url(0)}/readyz") as answer:
                if (await answer.json())["mode"] == mode:
                    return
            await asyncio.sleep(0.1)


async def _cancelled(house: House, turn_id: str) -> Any:
    """Looked at seldom: to look at it is to watch it."""
    async with asyncio.timeout(25):
        while True:
            await asyncio.sleep(3.5)
            if (turn := await _turn(house, turn_id))["status"] == "cancelled":
                return turn


@pytest.mark.slow
@pytest.mark.timeout(90)
async def test_a_turn_that_runs_at_a_worker_is_stopped_when_its_listener_at_the_gateway_has_left(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    timeout = aiohttp.ClientTimeout(total=40)
    with instances(
        tmp_path, postgres_server, "ab", each=ROLES, chunk_gap_ms=400, NGX_TURNS_UNWATCHED_S="1.5"
    ) as servers:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            house = House(servers, session)
            body = {"mode": "degraded-2", "reason": "a drill"}
            async with session.put(f"{house.url(1)}/v1/admin/mode", json=body) as answer:
                assert answer.status == 200
            await _until_mode(house, "degraded-2")
            left, watched = [
                await house.begin(0, await house.conversation(), "Dame consejos para dormir mejor") for _ in range(2)
            ]
            listening = house.events(0, watched)
            async with asyncio.timeout(20):
                while (await anext(listening))[0] != "text.delta":
                    pass
            turn = await _cancelled(house, left)
            assert turn["code"] == "unwatched"
            assert (await _turn(house, watched))["status"] == "running"
            await listening.aclose()
