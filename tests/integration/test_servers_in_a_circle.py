"""Two servers, each the other's agent elsewhere, that hand one subject to each other: the bus's bound ends it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.agents.remote.peers import CARD
from tests.gateway.a2a.wire import Caller, Refused
from tests.ports import free_port
from tests.server_process import ServerProcess

from ngx_agents.a2a.message import MAX_DEPTH
from ngx_agents.a2a.trail import HEADER, URI, Trail, Trails

KEY = "the same key for both servers of one house"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    ports = free_port(), free_port()
    first, second = (_server(tmp_path_factory.mktemp("one"), *pair) for pair in (ports, ports[::-1]))
    with first, second:
        yield first, second


def _server(folder: Path, own: int, other: int) -> ServerProcess:
    """Whatever it is asked as `mirror`, it asks the other's `mirror`."""
    card = f'[agents.remote.mirror]\ncard = "http://127.0.0.1:{other}/a2a/agents/mirror{CARD}"\n'
    (folder / "ngx.toml").write_text(card)
    server = ServerProcess(folder, NGX_SECRET_KEY=KEY)
    server.base_url, server.keeps_port = f"http://127.0.0.1:{own}", True
    return server


async def calls_of(session: aiohttp.ClientSession, server: ServerProcess) -> dict[str, int]:
    async with session.get(f"{server.base_url}/metrics") as answer:
        found = re.findall(r'ngx_remote_calls_total\{agent="mirror",outcome="(\w+)"\} (\d+)', await answer.text())
        return {outcome: int(number) for outcome, number in found}


async def known(session: aiohttp.ClientSession, server: ServerProcess) -> None:
    async with asyncio.timeout(30):
        while True:
            async with session.get(f"{server.base_url}/v1/agents/mirror") as answer:
                if (await answer.json())["remote"]["is_available"]:
                    return
            await asyncio.sleep(0.1)


async def test_a_message_that_goes_in_a_circle_ends_at_the_bound_of_the_bus(
    servers: tuple[ServerProcess, ServerProcess],
) -> None:
    async with aiohttp.ClientSession() as session:
        for server in servers:
            await known(session, server)
        asking = Caller(session, servers[0].base_url, "jsonrpc", {"A2A-Version": "1.0"})
        task = await asking.task("who is the fairest?", tenant="mirror")
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        assert "refused" in task["artifacts"][0]["parts"][0]["text"]
        each = MAX_DEPTH // 2
        assert await calls_of(session, servers[0]) == {"completed": each}
        assert await calls_of(session, servers[1]) == {"completed": each - 1, "remote_refused": 1}


@pytest.mark.parametrize("binding", ["jsonrpc", "rest"])
async def test_what_came_too_far_or_was_altered_is_refused(
    servers: tuple[ServerProcess, ServerProcess], binding: str
) -> None:
    far, near = (Trail(depth=depth, calls_left=9, remaining_s=20.0) for depth in (MAX_DEPTH, MAX_DEPTH - 1))
    signed = Trails([KEY.encode()])
    async with aiohttp.ClientSession() as session:
        on = Caller(session, servers[0].base_url, binding, {"A2A-Version": "1.0"})
        for refused in (signed.told(far), str(far), signed.told(near).replace("depth=7", "depth=1"), "far"):
            with pytest.raises(Refused) as by_header:
                await on.having(**{HEADER: refused}).send("how far?")
            with pytest.raises(Refused) as by_metadata:
                await on.send("how far?", metadata={URI: refused})
            for caught in (by_header, by_metadata):
                assert (caught.value.code, caught.value.status) in ((-32600, 200), (-32602, 200), (None, 400))
        task = await on.having(**{HEADER: signed.told(near)}).task("how far?", metadata={"other": 1})
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        with pytest.raises(Refused):
            await on.send("how far?", metadata={URI: {"depth": 1}})
