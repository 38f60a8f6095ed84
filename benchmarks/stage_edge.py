"""The edge alone: uvicorn's protocol and the gateway on a real socket, in front of an engine that answers at once.

Clients are a thread of their own; only the event loop's thread is counted, with its system calls.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from benchmarks.processes import BenchmarkError
from benchmarks.sampling import ANSWER, OWNER, QUESTION
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.deps import GatewayDeps
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.commands import Accepted
from ngx_agents.state.ids import shard_of
from ngx_agents.state.model import Owner
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnRequest, TurnView

CONNECTIONS = 8


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


def edge_us(deps: GatewayDeps) -> Callable[[int], Awaitable[float]]:
    """Serves a number of unary turns through the edge; CPU of one in µs. The engine of `deps` is an AtOnce."""
    config = uvicorn.Config(
        create_app(deps, GatewaySettings()), loop="none", http="httptools", ws="none", lifespan="off",
        access_log=False, log_config=None, log_level="warning", server_header=False,
    )  # fmt: skip
    config.load()
    request = _request(deps.ids.new("c", shard_of(OWNER.user)))

    async def run(times: int) -> float:
        loop, state = asyncio.get_running_loop(), ServerState()
        state.default_headers = [(b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")]
        listener = await loop.create_server(
            lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}, _loop=loop), "127.0.0.1", 0
        )
        async with listener:
            port: int = listener.sockets[0].getsockname()[1]
            began_s = time.thread_time()
            answered = await asyncio.to_thread(_ask, port, request, times)
            return (time.thread_time() - began_s) / answered * 1e6

    return run


def _request(conversation_id: str) -> bytes:
    body = b'{"text":"%b"}' % QUESTION.encode()
    return (
        f"POST /v1/conversations/{conversation_id}/turns HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/json\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


def _ask(port: int, request: bytes, times: int) -> int:
    """Asks on some connections at once, over and over; how often."""
    sockets = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CONNECTIONS)]
    rounds = max(1, times // CONNECTIONS)
    try:
        for _ in range(rounds):
            for one in sockets:
                one.sendall(request)
            for one in sockets:
                _check(one)
    finally:
        for one in sockets:
            one.close()
    return rounds * CONNECTIONS


def _check(one: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b"}"):
        piece = one.recv(65536)
        if not piece:
            break
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200") or b'"status":"completed"' not in answer:
        raise BenchmarkError(f"the edge answered {answer[:200]!r}")
