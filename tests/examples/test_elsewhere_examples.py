"""The examples of agents and tools elsewhere, with a real server."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.integration.test_servers_together import configured, said
from tests.ports import free_port
from tests.server_process import ServerProcess

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    with start_emulator(chunks=4) as url:
        yield url


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, emulator: str) -> Iterator[str]:
    port = free_port()
    folder = configured(
        tmp_path_factory.mktemp("server"),
        f'[agents.remote.tides]\ncard = "http://127.0.0.1:{port}/.well-known/agent-card.json"\n'
        f'[mcp.market]\ncommand = ["{sys.executable}", "{EXAMPLES / "mcp_tool_server.py"}"]\n'
        'tools = ["in_season"]\nagents = ["precision_nutrition_architect"]\n',
    )
    command = [sys.executable, str(EXAMPLES / "remote_agent.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == "ready\n"
        running = ServerProcess(folder, NGX_VERTEX_BASE_URL=emulator, NGX_VERTEX_PROJECT="demo").start()
        try:
            yield running.base_url
        finally:
            running.kill()
            agent.kill()


async def test_the_small_agent_is_found_by_what_its_card_says(server: str) -> None:
    answer = await said(server, "¿A qué hora sube la marea en Cádiz?")
    assert (answer["agents"], answer["source"]) == (["tides"], "remote")
    assert answer["text"].startswith("High water is at 06:12")


async def test_the_small_tool_server_is_called_by_the_model(server: str, emulator: str) -> None:
    call = {"kind": "force_call", "name": "market__in_season", "arguments": {"season": "spring"}}
    async with aiohttp.ClientSession() as session:
        await (await session.post(f"{emulator}/_control", data=json.dumps({"faults": [call]}))).read()
        await said(server, "qué hay de temporada", agent="precision_nutrition_architect")
        seen = await (await session.get(f"{emulator}/_control")).json(content_type=None)
        await (await session.delete(f"{emulator}/_control")).read()
    assert "strawberries, asparagus" in json.dumps(seen["last_request"]["contents"][-1])


def test_the_team_is_asked_over_mcp(server: str) -> None:
    command = [sys.executable, str(EXAMPLES / "mcp_ask_team.py"), server]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "by elite_training_strategist · source model" in done.stdout
    assert done.stdout.splitlines()[-1] == str(["user", "assistant"] * 2)
