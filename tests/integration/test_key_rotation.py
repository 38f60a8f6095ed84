"""`NGX_SECRET_KEY` is changed on two real instances, one restart at a time, and they understand each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest
from tests.integration.several import House, instances
from tests.postgres_process import PostgresServer, postgres_server

__all__ = ["postgres_server"]

OLD, NEW = "old-old-old-old-old-old-old-old-old", "new-new-new-new-new-new-new-new-new"
STEPS = (f"{OLD},{NEW}", f"{NEW},{OLD}", NEW)


async def _each_hears_the_other(house: House) -> None:
    """A turn at each, heard to its end at the other, without a reset."""
    begun = [await house.begin(number, await house.conversation(), "Dame un consejo") for number in (0, 1)]
    heard = await asyncio.gather(house.heard(1, begun[0]), house.heard(0, begun[1]))
    assert [(last, resets) for _, last, resets in heard] == [("turn.completed", 0)] * 2
    assert all(text for text, _, _ in heard)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_the_key_is_changed_without_a_moment_of_misunderstanding(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        with instances(tmp_path, postgres_server, "ab", NGX_SECRET_KEY=OLD) as servers:
            house = House(servers, session)
            conversations = [await house.conversation() for _ in range(3)]
            async with session.get(f"{house.url(0)}/v1/conversations?limit=1") as answer:
                cursor = (await answer.json())["next"]
            for keys in STEPS:
                for number, server in enumerate(servers):
                    await asyncio.to_thread(server.stop)
                    server.environ["NGX_SECRET_KEY"] = keys
                    await asyncio.to_thread(server.start)
                    if number == 0:  # the moment at which they have different ones
                        await _each_hears_the_other(house)
            await _each_hears_the_other(house)
            async with session.get(f"{house.url(1)}/v1/conversations?limit=100&cursor={cursor}") as answer:
                items = (await answer.json())["items"]
            assert [item["id"] for item in items] == conversations[1::-1]
