"""Connects to tool servers: the SDK's, and ones made of a few lines that misbehave."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

import aiohttp

from ngx_agents.agents.tools.mcp.channel import Channel
from ngx_agents.agents.tools.mcp.http_channel import HttpChannel
from ngx_agents.agents.tools.mcp.server import McpSettings
from ngx_agents.agents.tools.mcp.servers import McpServers
from ngx_agents.agents.tools.mcp.stdio import StdioChannel
from ngx_agents.agents.tools.tool import ToolContext
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.state.model import Profile
from ngx_agents.telemetry.metrics import Metrics
from tests.ports import free_port

AGENT = "progress_tracker"
SDK = (sys.executable, "-m", "tests.agents.tools.mcp.sdk_server")
ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": os.getcwd()}


def stdio(*command: str, environment: dict[str, str] | None = None) -> Callable[[], Channel]:
    return partial(StdioChannel, command or (*SDK, "stdio"), environment=environment or ENVIRONMENT)


def script(code: str, *, environment: dict[str, str] | None = None) -> Callable[[], Channel]:
    """A server of a few lines. `say(object)` writes a message, `hear()` reads one, `greet()` does the handshake."""
    prelude = """
import json, os, sys, time
def say(message):
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + chr(10)); sys.stdout.flush()
def hear():
    line = sys.stdin.readline()
    if not line: os._exit(0)
    return json.loads(line)
def greet(tools=({"name": "t", "inputSchema": {"type": "object"}},)):
    while True:
        m = hear()
        if m["method"] == "initialize":
            say({"id": m["id"], "result": {"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}}})
        elif m["method"] == "tools/list":
            say({"id": m["id"], "result": {"tools": list(tools)}})
            return
        elif "id" in m:
            say({"id": m["id"], "error": {"code": -32601, "message": "no"}})
"""
    return stdio(sys.executable, "-c", prelude + code, environment=environment)


def http(url: str, **headers: str) -> Callable[[], Channel]:
    return partial(HttpChannel, url, headers=headers)


@contextmanager
def sdk_http_server(*options: str, port: int | None = None) -> Iterator[str]:
    """The address of the SDK's streamable HTTP server in a process."""
    port = free_port() if port is None else port
    command = [*SDK, str(port), *options]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    import socket

    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError("the tool server did not start")


def settings(connect: Callable[[], Channel], **changed: Any) -> McpSettings:
    usual: dict[str, Any] = {
        "name": "kitchen",
        "tools": frozenset({"*"}),
        "agents": frozenset({AGENT}),
        "timeout_s": 20.0,
    }
    return McpSettings(connect=connect, **{**usual, **changed})


@asynccontextmanager
async def connected(*some: McpSettings, metrics: Metrics | None = None) -> AsyncIterator[McpServers]:
    async with McpServers(some, metrics=metrics or Metrics(), clock=SystemClock(), rng=Rng(1)) as servers:
        yield servers


async def call(servers: McpServers, tool: str, timeout_s: float = 30.0, **arguments: Any) -> dict[str, Any]:
    """The facts that a call gives."""
    found = servers.tool(AGENT, f"kitchen__{tool}")
    assert found is not None, "the tool is not offered"
    return (await found.run(arguments, a_context(timeout_s))).facts


def a_context(timeout_s: float = 30.0) -> ToolContext:
    async def no_logs(*_: Any) -> tuple[()]:
        return ()

    async def no_log(*_: Any) -> None:
        return None

    return ToolContext(
        text="", locale="en", profile=Profile(), now=0.0, logs=no_logs, add_log=no_log,
        deadline_s=SystemClock().monotonic_s() + timeout_s,
    )  # fmt: skip


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status
