"""What an ask over `/mcp` costs the server beside the same turn over `/v1`: templates, SQLite, one at a time.

`python -m benchmarks.mcp_ask [--asks 400]`; CPU µs of the server process per ask, conversation included.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
from tests.server_process import ServerProcess

ROUNDS = 3
CALL = {"name": "ask_team", "arguments": {"text": "hola"}}
MESSAGE = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": CALL}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def over_http(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(f"{url}/v1/conversations", json={}) as made:
        conversation_id = (await made.json())["id"]
    async with session.post(f"{url}/v1/conversations/{conversation_id}/turns", json={"text": "hola"}) as answer:
        await answer.read()


async def over_mcp(session: aiohttp.ClientSession, url: str, accept: str) -> None:
    async with session.post(f"{url}/mcp", json=MESSAGE, headers={"Accept": accept}) as answer:
        await answer.read()


async def cost_us(pid: int, ask: Callable[[], Awaitable[None]], asks: int) -> int:
    for _ in range(20):
        await ask()
    before_s = cpu_s(pid)
    for _ in range(asks):
        await ask()
    return round((cpu_s(pid) - before_s) * 1e6 / asks)


async def measured(server: ServerProcess, asks: int) -> dict[str, int]:
    url, pid = server.base_url, server.pid
    async with aiohttp.ClientSession() as session:
        return {
            "turn_us": await cost_us(pid, lambda: over_http(session, url), asks),
            "mcp_json_us": await cost_us(pid, lambda: over_mcp(session, url, "application/json"), asks),
            "mcp_stream_us": await cost_us(
                pid, lambda: over_mcp(session, url, "application/json, text/event-stream"), asks
            ),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--asks", type=int, default=400)
    asks: int = parser.parse_args().asks
    server = ServerProcess(Path(tempfile.mkdtemp())).start()
    try:
        rounds = [asyncio.run(measured(server, asks)) for _ in range(ROUNDS)]
    finally:
        server.kill()
    print(json.dumps({"asks": asks, "rounds": rounds}))


if __name__ == "__main__":
    main()
