"""An operator's word on the mode reaches every worker process of every instance on one Postgres, without Redis, and
outlives them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.postgres_process import PostgresServer, postgres_server

__all__ = ["postgres_server"]

WITHIN_S = 5.0


async def _call(session: aiohttp.ClientSession, method: str, url: str, **body: Any) -> Any:
    """Over a connection of its own, so that any of the workers may answer."""
    async with session.request(method, url, json=body or None, headers={"connection": "close"}) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.json()


async def _all_say(house: House, mode: str) -> float:
    """When every worker of every instance says so, in seconds: twelve answers of each in a row."""
    began_s = time.monotonic()
    async with asyncio.timeout(3 * WITHIN_S):
        while True:
            told = [
                (await _call(house.session, "GET", f"{house.url(number)}/readyz"))["mode"]
                for number in range(len(house.servers))
                for _ in range(12)
            ]
            if set(told) == {mode}:
                return time.monotonic() - began_s


@pytest.mark.timeout(120)
async def test_a_mode_holds_everywhere_within_five_seconds_and_after_a_restart_until_it_is_taken_back(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    timeout = aiohttp.ClientTimeout(total=30)
    with instances(tmp_path, postgres_server, "ab", each={"a": {"NGX_WORKERS": "2"}}) as servers:
        async with aiohttp.ClientSession(timeout=timeout) as session:
            house = House(servers, session)
            url = f"{house.url(1)}/v1/admin/mode"
            view = await _call(session, "PUT", url, mode="degraded-2", reason="a drill", for_s=600)
            assert (view["mode"], view["is_set"], view["is_everywhere"]) == ("degraded-2", True, True)
            assert await _all_say(house, "degraded-2") < WITHIN_S
            for server in servers:
                server.kill()
                server.start()
            for number in (0, 1):
                ready = await _call(session, "GET", f"{house.url(number)}/readyz")
                assert (ready["mode"], ready["reasons"]) == ("degraded-2", ["operator: a drill"])
            await _call(session, "DELETE", f"{house.url(0)}/v1/admin/mode")
            assert await _all_say(house, "normal") < WITHIN_S
            audit = await _call(session, "GET", f"{house.url(1)}/v1/admin/audit?target=mode")
            assert [one["action"] for one in audit["items"]] == ["mode.automatic", "mode.set"]
