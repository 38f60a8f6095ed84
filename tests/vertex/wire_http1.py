"""HTTP/1.1 of the wire server: one call after another on a connection."""

from __future__ import annotations

import asyncio
import socket
import struct

from tests.vertex.wire_server import Seen, behave


async def serve_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
    is_first = True
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        if head.startswith("PRI "):
            return  # HTTP/2 is not spoken here
        if is_first:  # a client may have come only to see what is spoken here
            is_first = False
            seen.connections += 1
            seen.lines.append(writer.transport)
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        exchange = _Exchange(headers, body, reader, writer)
        async with seen.call(headers, body):
            await behave(request.split(" ")[1].strip("/"), exchange, seen)
        if not exchange.is_reusable:
            return


class _Exchange:
    def __init__(
        self, headers: dict[str, str], body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.headers = headers
        self.body = body
        self.is_reusable = False
        self._reader = reader
        self._writer = writer
        self._is_chunked = False
        self._is_last = False

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        self._is_chunked = "content-length" not in headers
        extra = {"transfer-encoding": "chunked"} if self._is_chunked else {}
        if self._is_last:
            extra["connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in {**headers, **extra}.items())
        self._writer.write(f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode())

    async def chunk(self, data: bytes) -> None:
        self._writer.write(b"%x\r\n%b\r\n" % (len(data), data) if self._is_chunked else data)
        await self._writer.drain()

    async def end(self) -> None:
        if self._is_chunked:
            self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()
        self.is_reusable = not self._is_last

    async def until_gone(self) -> None:
        await self._reader.read(1)

    def cut(self) -> None:
        self._writer.close()

    def reset(self) -> None:
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def farewell(self) -> None:
        self._is_last = True
