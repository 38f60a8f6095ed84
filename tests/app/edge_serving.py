"""The real HTTP server on loopback before an application of a test, or before the real gateway."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send

from ngx_agents.app.addresses import listening
from ngx_agents.app.config import load_config
from ngx_agents.app.door import Bounds, Door
from ngx_agents.app.http_server import HttpServer, uvicorn_config
from ngx_agents.telemetry.metrics import Metrics


class NoTurns:
    """Stands for the drain of a server that has nothing to wait for."""

    def __init__(self) -> None:
        self._told = asyncio.Event()
        self.is_hurried = True

    def tell(self) -> None:
        self._told.set()

    async def run(self) -> None:
        await self._told.wait()


class Echo:
    """Answers with the size of the body; `/big` with `big_bytes`, `/slow` reads its body late."""

    def __init__(self, *, big_bytes: int = 64 * 2**20) -> None:
        self.big_bytes = big_bytes
        self.scopes: list[Scope] = []
        self.broken = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        size_bytes, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.broken += 1
                return
            size_bytes += len(message["body"])
            more = message["more_body"]
            if scope["path"] == "/slow":
                await asyncio.sleep(0.4)
        body = b"." * self.big_bytes if scope["path"] == "/big" else b"%d" % size_bytes
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        for start in range(0, len(body), 65_536):
            more = start + 65_536 < len(body)
            await send({"type": "http.response.body", "body": body[start : start + 65_536], "more_body": more})


class Served:
    def __init__(self, address: tuple[str, int], server: HttpServer, metrics: Metrics) -> None:
        self.address = address
        self.server = server
        self._metrics = metrics

    @property
    def metrics(self) -> str:
        return self._metrics.render().decode()

    async def raw(self, request: bytes, *, within_s: float = 10.0) -> bytes:
        """All that comes until the connection ends; b"" also when it is reset."""
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            writer.write(request)
            await writer.drain()
            async with asyncio.timeout(within_s):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


@asynccontextmanager
async def edge(app: ASGIApp, bounds: Bounds | None = None, **environ: str) -> AsyncIterator[Served]:
    """`environ` are NGX_* variables."""
    metrics = Metrics()
    door = Door(bounds or Bounds(), metrics, asyncio.get_running_loop().time, looks=1)
    drain: Any = NoTurns()
    server = HttpServer(uvicorn_config(app, load_config(environ=environ).config), drain, door)
    with listening("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(server.leave_when_told())
            serving = tasks.create_task(server.serve(sockets=[_copy(listener)]))
            while not server.started:  # noqa: ASYNC110 - uvicorn tells nobody
                await asyncio.sleep(0.005)
            try:
                yield Served(address, server, metrics)
            finally:
                server.stop(0)
                await serving


def _copy(listener: socket.socket) -> socket.socket:
    return listener.dup()
