"""The emulator over HTTP/1.1 and HTTP/2, by granian (Rust).

ASGI has no words for a connection, so `_Line` stands for it in the scope, as the socket's transport does under
uvicorn: a closed line ends its stream in mid-answer (RST_STREAM, or the end of the connection in HTTP/1.1); an
aborted one resets the connection with all its streams. granian says that a client left only to who asks, so a task
of each streaming request asks; it ends with the request.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import uvloop

from ngx_agents.errors import ConfigError
from ngx_agents.vertex.emulator.app import create_app
from ngx_agents.vertex.emulator.exchange import Message, Receive, Scope, Send
from ngx_agents.vertex.emulator.settings import EmulatorSettings

BACKLOG = 4096
MAX_CONCURRENT_STREAMS = 100  # announced to clients, as Google's front ends do
CONNECT_POLL_S = 0.005
DISCONNECT: Message = {"type": "http.disconnect"}


def serve(settings: EmulatorSettings, cert: Path | None, key: Path | None, announce: Callable[[int], None]) -> None:
    """Serves until SIGTERM or SIGINT; `announce` is told the port once it accepts. Raises ConfigError (no granian)."""
    try:
        import granian.server.embed  # noqa: F401  # imported where it is used, asked for here
    except ImportError as exc:
        raise ConfigError("HTTP/2 needs granian: pip install 'ngx-agents[emulator]'") from exc
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as reserved:
        # bound and never listening: it holds the port until granian, which shares ports, listens there
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind((settings.host, settings.port))
        port: int = reserved.getsockname()[1]
        uvloop.run(_serve(settings, port, cert, key, announce))


async def _serve(
    settings: EmulatorSettings, port: int, cert: Path | None, key: Path | None, announce: Callable[[int], None]
) -> None:
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings, HTTP2Settings
    from granian.server.embed import Server

    server = Server(
        Lined(create_app(settings)),
        address=settings.host,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.auto,
        websockets=False,
        backlog=BACKLOG,
        http1_settings=HTTP1Settings(),
        http2_settings=HTTP2Settings(max_concurrent_streams=MAX_CONCURRENT_STREAMS),
        log_enabled=False,
        ssl_cert=cert,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    loop = asyncio.get_running_loop()
    for ending in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(ending, server.stop)
    async with asyncio.TaskGroup() as group:
        group.create_task(server.serve())
        await _until_listening(settings.host, port)
        announce(port)


class Lined:
    """ASGI middleware that gives every request its `_Line` and answers `receive` from it."""

    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with asyncio.TaskGroup() as group:
            host, port = scope["client"]  # granian says the port as text
            line = _Line((host, int(port)), receive, group)
            scope["extensions"] = {"ngx.socket": line}
            try:
                await self._app(scope, line.receive, line.sending(send))
            finally:
                line.end()


class _Line:
    """What an `Exchange` needs of a transport: `is_closing`, `close`, `abort`."""

    def __init__(self, client: tuple[str, int], receive: Receive, group: asyncio.TaskGroup) -> None:
        self._client = client
        self._receive = receive
        self._group = group
        self._is_read = False
        self._gone = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None

    async def receive(self) -> Message:
        if not self._is_read:
            message = await self._receive()
            self._is_read = not message.get("more_body")
            return message
        self._watch_out()
        await self._gone.wait()
        return DISCONNECT

    def sending(self, send: Send) -> Send:
        """`send` that begins to watch for the client's leaving when an answer is not sent at once."""

        async def watched(message: Message) -> None:
            if message.get("more_body"):
                self._watch_out()
            await send(message)

        return watched

    def is_closing(self) -> bool:
        return self._gone.is_set()

    def close(self) -> None:
        self._gone.set()

    def abort(self) -> None:
        self._watch_out()  # until granian has seen the end of the connection: it would still answer before
        _reset(self._client)

    def end(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    def _watch_out(self) -> None:
        if self._watch is None:
            self._watch = self._group.create_task(self._until_gone())

    async def _until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone.set()


def _reset(client: tuple[str, int]) -> None:
    """Resets the connection of this process with that peer: its server closes it on the end it sees, with an RST."""
    for name in os.listdir("/dev/fd"):
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as peer:
            if peer.getpeername()[:2] == client[:2]:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.shutdown(socket.SHUT_RD)


async def _until_listening(host: str, port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(host, port)
        except ConnectionRefusedError:
            await asyncio.sleep(CONNECT_POLL_S)
        else:
            writer.close()
            return
