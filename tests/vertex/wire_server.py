"""A server on a real socket that says exactly the bytes a test wants, when it wants them.

The path names the behaviour, so that one server serves a whole suite, over HTTP/1.1 or HTTP/2, in clear or under TLS.
It counts what it sees in `seen`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from tests.emulator_process import certificate
from tests.ports import free_port

Wire = Literal["http1", "h2c", "tls-h2", "tls-http1"]
BIG = bytes(range(256)) * 8192  # 2 MiB
PIECES = (b"one ", b"tw", b"o \xc3", b"\xa9 three")
SPLIT = 'data: {"text": "sí\u2028no ✓"}\r\n\r\n'.encode()  # sent byte by byte
PAGE = b"<!DOCTYPE html><title>Error 404 (Not Found)!!1</title>"
TINY = b"data: {}\r\n\r\n"
LONG_HEADER_BYTES = 3000


@dataclass
class Seen:
    """`gone` is set when a client leaves an answer that is under way. `lines` are the connections, oldest first."""

    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lines: list[asyncio.Transport] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def call(self, headers: dict[str, str], body: bytes) -> AsyncIterator[None]:
        self.headers.append(headers)
        self.bodies.append(body)
        self.open_now += 1
        self.open_most = max(self.open_most, self.open_now)
        try:
            yield
        finally:
            self.open_now -= 1


class Exchange(Protocol):
    """One call being answered. `end` leaves the connection usable, `cut` and `reset` do not say the end."""

    headers: dict[str, str]
    body: bytes

    async def begin(self, status: int, headers: dict[str, str]) -> None: ...

    async def chunk(self, data: bytes) -> None: ...

    async def end(self) -> None: ...

    async def until_gone(self) -> None: ...

    def cut(self) -> None: ...

    def reset(self) -> None: ...

    def farewell(self) -> None:
        """Tells the client that the connection takes no more calls after this one."""


@asynccontextmanager
async def wire_server(
    wire: Wire = "http1", *, max_streams: int = 100, port: int = 0
) -> AsyncIterator[tuple[str, Seen]]:
    """Yields the origin and what the server sees."""
    from tests.vertex.wire_http1 import serve_http1
    from tests.vertex.wire_http2 import serve_http2

    seen = Seen()
    context = _context(wire) if wire.startswith("tls") else None
    open_lines: set[asyncio.Transport] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_lines.add(writer.transport)
        tls = writer.get_extra_info("ssl_object")
        is_multiplexed = wire == "h2c" or (tls is not None and tls.selected_alpn_protocol() == "h2")
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError
            ):
                if is_multiplexed:
                    await serve_http2(reader, writer, seen, max_streams)
                else:
                    await serve_http1(reader, writer, seen)
        finally:
            open_lines.discard(writer.transport)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=context)
    try:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}", seen
    finally:
        seen.go_on.set()
        server.close()
        for line in list(open_lines):
            line.abort()
        await server.wait_closed()
        while open_lines:  # noqa: ASYNC110  # their handlers end on their own
            await asyncio.sleep(0.001)


def refused_origin(scheme: str = "http") -> str:
    """An origin nobody listens at."""
    return f"{scheme}://127.0.0.1:{free_port()}"


async def behave(behaviour: str, exchange: Exchange, seen: Seen) -> None:
    """Answers as the path says."""
    kind, _, argument = behaviour.partition("/")
    if kind in ("wait", "late"):
        await seen.go_on.wait()
    if kind in ("held", "late", "silent"):
        await _hold(exchange, seen, says=b"" if kind == "silent" else b"first")
    elif kind == "flood":
        await _flood(exchange, seen)
    elif kind == "reset":
        exchange.reset()
    elif kind in ("pieces", "cut", "bytes", "short", "tiny"):
        await _stream(kind, argument, exchange)
    else:
        await _whole(kind, argument, exchange)


async def _stream(kind: str, argument: str, exchange: Exchange) -> None:
    chunks = {"bytes": [bytes([byte]) for byte in SPLIT], "short": [b"only this"], "tiny": [TINY] * int(argument or 0)}
    await exchange.begin(200, {"content-length": "100"} if kind == "short" else {})
    for chunk in chunks.get(kind, PIECES):
        await exchange.chunk(chunk)
        if kind in ("pieces", "cut"):
            await asyncio.sleep(0.002)
    if kind in ("cut", "short"):
        exchange.cut()
    else:
        await exchange.end()


async def _whole(kind: str, argument: str, exchange: Exchange) -> None:
    bodies = {"status": b'{"said": "so"}', "echo": exchange.body, "big": BIG, "html": PAGE}
    body = bodies.get(kind, b"{}")
    headers = {"retry-after": "7", "content-length": str(len(body))}
    if kind == "long":
        headers["x-long"] = "x" * LONG_HEADER_BYTES
    if kind == "html":
        headers["content-type"] = "text/html; charset=UTF-8"
    if kind == "farewell":
        exchange.farewell()
    await exchange.begin(int(argument or 200) if kind == "status" else 404 if kind == "html" else 200, headers)
    if body:
        await exchange.chunk(body)
    await exchange.end()


async def _flood(exchange: Exchange, seen: Seen) -> None:
    try:
        await exchange.begin(200, {})
        while True:
            await exchange.chunk(BIG[:65536])
    finally:
        seen.gone.set()


async def _hold(exchange: Exchange, seen: Seen, *, says: bytes = b"") -> None:
    try:
        if says:
            await exchange.begin(200, {})
            await exchange.chunk(says)
        await exchange.until_gone()
    finally:
        seen.gone.set()


def _context(wire: Wire) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate().cert_file, certificate().key_file)
    if wire == "tls-h2":
        context.set_alpn_protocols(["h2", "http/1.1"])
    return context
