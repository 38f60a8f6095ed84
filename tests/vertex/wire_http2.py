"""HTTP/2 of the wire server: the frames are read here, each call is answered by a task of its connection."""

from __future__ import annotations

import asyncio
import ssl

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

from tests.vertex.wire_server import Seen, behave


async def serve_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen, max_streams: int) -> None:
    try:
        async with asyncio.TaskGroup() as group:
            line = _Line(writer, seen, group)
            try:
                await line.serve(reader, max_streams)
            finally:
                line.close()
    except* (ConnectionError, ssl.SSLError):
        pass  # the client left


class _Line:
    """One connection. `windows` is woken by whatever may let more data out."""

    def __init__(self, writer: asyncio.StreamWriter, seen: Seen, group: asyncio.TaskGroup) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.windows = asyncio.Condition()
        self.writer = writer
        self._seen = seen
        self._group = group
        self._exchanges: dict[int, _Exchange] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, max_streams: int) -> None:
        announced = {SettingCodes.MAX_CONCURRENT_STREAMS: max_streams}
        self.h2.local_settings = Settings(client=False, initial_values=announced)
        self.h2.initiate_connection()
        self.flush()
        while data := await reader.read(65536):
            for event in self.h2.receive_data(data):
                await self._take(event)
            self.flush()

    def close(self) -> None:
        for exchange in self._exchanges.values():
            exchange.gone.set()
        for task in self._tasks:
            task.cancel()

    def flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    async def _take(self, event: Event) -> None:
        match event:
            case RequestReceived():
                self._receive(event)
            case DataReceived():
                self._exchanges[event.stream_id].body += event.data
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case StreamEnded():
                task = self._group.create_task(self._answer(self._exchanges[event.stream_id]))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case StreamReset():
                self._exchanges[event.stream_id].gone.set()
                await self._wake()
            case WindowUpdated():
                await self._wake()
            case ConnectionTerminated():
                raise ConnectionResetError

    def _receive(self, event: RequestReceived) -> None:
        if not self._exchanges:  # a client may have come only to see what is spoken here
            self._seen.connections += 1
            self._seen.lines.append(self.writer.transport)
        headers = {str(name): str(value) for name, value in event.headers}
        self._exchanges[event.stream_id] = _Exchange(headers, event.stream_id, self)

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            async with self._seen.call(exchange.headers, exchange.body):
                await behave(exchange.headers[":path"].strip("/"), exchange, self._seen)
        except (ProtocolError, ConnectionError):
            pass  # the client reset the stream or the connection

    async def _wake(self) -> None:
        async with self.windows:
            self.windows.notify_all()


class _Exchange:
    def __init__(self, headers: dict[str, str], stream_id: int, line: _Line) -> None:
        self.headers = headers
        self.body = b""
        self.gone = asyncio.Event()
        self._stream_id = stream_id
        self._line = line

    async def begin(self, status: int, headers: dict[str, str]) -> None:
        self._line.h2.send_headers(self._stream_id, [(":status", str(status)), *headers.items()])
        self._line.flush()

    async def chunk(self, data: bytes) -> None:
        h2 = self._line.h2
        while data:
            async with self._line.windows:
                await self._line.windows.wait_for(
                    lambda: self.gone.is_set() or h2.local_flow_control_window(self._stream_id) > 0
                )
            room = min(h2.local_flow_control_window(self._stream_id), h2.max_outbound_frame_size)
            h2.send_data(self._stream_id, data[:room])
            data = data[room:]
            self._line.flush()
        await self._line.writer.drain()

    async def end(self) -> None:
        self._line.h2.end_stream(self._stream_id)
        self._line.flush()

    async def until_gone(self) -> None:
        await self.gone.wait()

    def cut(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._line.h2.reset_stream(self._stream_id, ErrorCodes.INTERNAL_ERROR)
        self._line.flush()

    def farewell(self) -> None:
        last = self._line.h2.highest_inbound_stream_id
        self._line.writer.write(GoAwayFrame(stream_id=0, last_stream_id=last).serialize())  # h2 would end at once
