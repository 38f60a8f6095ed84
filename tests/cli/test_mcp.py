"""`ngx mcp` as MCP clients start it: a process with lines on its standard input and output, before a real server."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client as McpClient
from mcp.client.stdio import StdioServerParameters

from ngx_agents.cli.mcp_bridge import Bridge
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.serving import client

NGX = str(Path(sys.executable).with_name("ngx"))


def started_against(url: str, **environ: str) -> StdioServerParameters:
    return StdioServerParameters(command=NGX, args=["mcp"], env={"NGX_URL": url, **environ})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_client_asks_the_team_through_it(tmp_path: Path, mode: Any) -> None:
    async with client(tmp_path) as api, McpClient(started_against(api.url), mode=mode) as mcp:
        answers = await asyncio.gather(*(mcp.call_tool("ask_team", {"text": f"say n{number}"}) for number in range(5)))
        names = [tool.name for tool in (await mcp.list_tools()).tools]
    assert [answer.content[0].text for answer in answers] == [f"n{number}" for number in range(5)]
    assert "ask_team" in names


async def carried(url: str, *lines: bytes, api_key: str | None = None) -> list[Any]:
    """What comes back for these lines."""
    said: list[str] = []
    reader = asyncio.StreamReader(limit=100_000)
    reader.feed_data(b"".join(line + b"\n" for line in lines))
    reader.feed_eof()
    async with Bridge(url, api_key=api_key, write=said.append) as bridge:
        await bridge.carry(reader)
    return [json.loads(line) for line in said]


PING = b'{"jsonrpc":"2.0","id":7,"method":"ping"}'


async def test_without_a_server_the_client_is_told_and_does_not_wait() -> None:
    [answer] = await carried("http://127.0.0.1:9", PING)
    assert answer["id"] == 7
    assert "ngx serve" in answer["error"]["message"]


async def test_what_the_server_refuses_is_told_in_its_words(tmp_path: Path) -> None:
    settings = GatewaySettings(auth=AuthSettings(mode="api_key"))
    async with client(tmp_path, settings) as api:
        [answer] = await carried(api.url, PING, api_key="ngx_no_such_key")
    assert answer["id"] == 7
    assert answer["error"]["message"].startswith("unauthenticated: ")


async def test_lines_that_are_no_messages_get_an_error_and_the_next_is_carried(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        answers = await carried(api.url, b"nonsense", b"", b"x" * 200_000, b"[1]", PING)
    assert {"jsonrpc": "2.0", "id": 7, "result": {}} in answers
    assert sorted(answer["error"]["code"] for answer in answers if "error" in answer) == [-32700, -32700, -32600]


async def test_what_is_no_mcp_server_is_named() -> None:
    from aiohttp import web

    async def page(_: web.Request) -> web.Response:
        return web.Response(text="{not json", content_type="application/json")

    app = web.Application()
    app.router.add_post("/mcp", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        [answer] = await carried(f"http://127.0.0.1:{port}", PING)
    finally:
        await runner.cleanup()
    assert "no MCP server" in answer["error"]["message"]
