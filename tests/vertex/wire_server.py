"""A server on a real socket that says exactly the bytes a test wants, when it wants them.

The path names the behaviour, so that one server serves a whole suite. It counts what it sees in `seen`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

BIG = bytes(range(256)) * 8192  # 2 MiB
PIECES = (b"one ", b"tw", b"o \xc3", b"\xa9 three")


@dataclass
class Seen:
    """`gone` is set when a client leaves a connection on which an answer is under way."""

    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: int = 0
    open_now: int = 0
    open_most: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def wire_server() -> AsyncIterator[tuple[str, Seen]]:
    """Yields the origin and what the server sees."""
    seen = Seen()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        try:
            while await _exchange(reader, writer, seen):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left, or the test is over
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", seen
    finally:
        seen.go_on.set()
        server.close()
        await server.wait_closed()


def refused_origin() -> str:
    """An origin nobody listens at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> bool:
    """Whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    seen.bodies.append(await reader.readexactly(int(headers.get("content-length", "0"))))
    seen.headers.append(headers)
    seen.open_now += 1
    seen.open_most = max(seen.open_most, seen.open_now)
    try:
        return await _answer(request.split(" ")[1].strip("/"), reader, writer, seen)
    finally:
        seen.open_now -= 1


async def _answer(behaviour: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> bool:
    kind, _, argument = behaviour.partition("/")
    if kind in ("wait", "late"):
        await seen.go_on.wait()
    if kind in ("held", "late"):
        _begin(writer)
        _chunk(writer, b"first")
    if kind in ("held", "late", "silent"):
        await _until_gone(reader, seen)
    elif kind in ("pieces", "cut"):
        await _pieces(writer, end=kind == "pieces")
    elif kind == "short":
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
    elif kind == "reset":
        _reset(writer)
    else:
        whole = {"status": b'{"said": "so"}', "echo": seen.bodies[-1], "big": BIG, "wait": b"{}"}
        _whole(writer, int(argument or 200), whole[kind])
    if kind in ("pieces", "status", "echo", "big", "wait"):
        await writer.drain()
        return True
    return False


def _whole(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    writer.write(b"HTTP/1.1 %d X\r\nretry-after: 7\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body))


def _begin(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


async def _pieces(writer: asyncio.StreamWriter, *, end: bool) -> None:
    _begin(writer)
    for piece in PIECES:
        _chunk(writer, piece)
        await writer.drain()
        await asyncio.sleep(0.002)
    if end:
        writer.write(b"0\r\n\r\n")


async def _until_gone(reader: asyncio.StreamReader, seen: Seen) -> None:
    try:
        await reader.read(1)
    finally:
        seen.gone.set()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
