"""The edge alone: uvicorn's protocol and the gateway on a real socket, in front of an engine that answers at once.

Clients are a process of their own (`benchmarks.asking`); the event loop's thread is counted, with its system calls.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.processes import BenchmarkError
from benchmarks.sampling import ANSWER, OWNER
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.commands import Accepted
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnRequest, TurnView


class AtOnce(TurnEngine):
    """An engine that has the answer already."""

    @override
    async def accept(self, request: TurnRequest) -> Accepted:
        return Accepted(turn_id=request.conversation_id.replace("c_", "t_"), position=0, epoch=1)

    @override
    async def wait(self, turn_id: str, owner: Owner) -> TurnView:
        return TurnView(
            turn_id=turn_id, conversation_id=turn_id.replace("t_", "c_"), status="completed", text=3 * ANSWER,
            source="model", rung="model", model="gemini-3.8-flash", location="global", agents=("one",),
            usage={"input_tokens": 100, "output_tokens": 100, "thought_tokens": 0, "cached_tokens": 0},
        )  # fmt: skip


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """The least that ASGI can be: what a machine makes of this tells how to read its other numbers."""
    await receive()
    body = b'{"status":"completed"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def edge_us(deps: GatewayDeps) -> Callable[[int], Awaitable[float]]:
    """Serves a number of unary turns through the edge; CPU of one in µs. The engine of `deps` is an AtOnce."""
    return served_us(create_app(deps, GatewaySettings()), deps.ids.new("c", shard_of(OWNER.user)))


def served_us(app: ASGIApp, conversation_id: str) -> Callable[[int], Awaitable[float]]:
    config = uvicorn.Config(
        app, loop="none", http="httptools", ws="none", lifespan="off",
        access_log=False, log_config=None, log_level="warning", server_header=False,
    )  # fmt: skip
    config.load()

    async def run(times: int) -> float:
        loop, state = asyncio.get_running_loop(), ServerState()
        state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
        listener = await loop.create_server(
            lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0
        )
        async with listener:
            port: int = listener.sockets[0].getsockname()[1]
            command = (sys.executable, "-m", "benchmarks.asking", str(port), conversation_id, str(times))
            client = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
            assert client.stdout is not None
            await client.stdout.readline()
            began_s = time.thread_time()
            told, _ = await client.communicate(b"go\n")
            used_s = time.thread_time() - began_s
        if client.returncode != 0:
            raise BenchmarkError("the edge did not answer as it should")
        return used_s / int(told) * 1e6

    return run
