"""A TCP proxy that a test can tell to cut what is open, and to refuse what comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class CuttingProxy:
    """`cut()` resets every open connection at once; while `is_refusing`, new ones are reset as well.

    Each number in `stream_bytes` is used up by one event stream: after so many bytes, wherever that is, it is reset.
    """

    def __init__(self, host: str, port: int) -> None:
        self.is_refusing = False
        self.stream_bytes: list[int] = []
        self.connections = 0
        self.cuts = 0
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
            self.cuts += 1

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.is_refusing:
            writer.transport.abort()
            return
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, upstream_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, upstream_writer))
                group.create_task(self._answer(upstream_reader, writer))
        finally:
            self._open -= {writer, upstream_writer}

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left: int | None = None
        while data := await reader.read(65_536):
            if b"text/event-stream" in data and self.stream_bytes:
                left = self.stream_bytes.pop(0)
            if left is not None and len(data) >= left:
                writer.write(data[:left])
                await asyncio.sleep(0.01)  # so that they leave before the reset
                self.cut()
                return
            if left is not None:
                left -= len(data)
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def cutting_proxy(base_url: str) -> AsyncIterator[tuple[str, CuttingProxy]]:
    """Yields the proxy's own base URL and the proxy."""
    host, port = base_url.removeprefix("http://").split(":")
    proxy = CuttingProxy(host, int(port))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", proxy
    finally:
        server.close()
        proxy.cut()
        await server.wait_closed()
