"""A client's connection: uvicorn's HTTP/1.1, and what it lacks: bounds (`app.door`), and typed problems."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

from starlette.types import Receive, Scope, Send
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ngx_agents.app.door import Door, Phase, Progress
from ngx_agents.errors import HeadersTooLarge, InvalidRequest, NgxError, Overloaded, TooSlow
from ngx_agents.gateway.problems import MEDIA_TYPE, status_of, whole_answer

BUSY_S = 5.0
MAX_PIPELINED = 16  # requests that wait for the answer to the first
FULL = {
    "connections": "there are as many connections as this server takes",
    "address": "there are as many connections as this server takes from one address",
}


_data_received = HttpToolsProtocol.data_received
_on_headers_complete = HttpToolsProtocol.on_headers_complete


class Connection(HttpToolsProtocol):
    """One of a server's, all of which share the door. What is done for each request here is kept to a microsecond."""

    def __init__(self, config: Config, server_state: ServerState, *, door: Door) -> None:
        super().__init__(config=config, server_state=server_state, app_state={})
        self._door = door
        self._header_limit_bytes = door.bounds.header_bytes
        self._address: str | None = None
        self._head_bytes = 0  # of chunks that did not complete the headers
        self._chunk_bytes = 0
        self.fed_bytes = 0
        self.progress = Progress(door.now_s())

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._address = self.client[0] if self.client else None
        reason = self._door.enter(self._address)
        if reason is not None:
            self._door.refused[reason].inc()
            self.refuse(Overloaded(FULL[reason], retry_after_s=BUSY_S))

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._door.leave(self._address)

    @override
    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = size_bytes = len(data)
        self.fed_bytes += size_bytes
        _data_received(self, data)
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope:  # type: ignore[redundant-expr]  # None at first
            self._head_bytes = 0
            return
        self._head_bytes += size_bytes
        if self._head_bytes > self._header_limit_bytes and not self.transport.is_closing():
            self._door.refused["header_bytes"].inc()
            self.refuse(HeadersTooLarge(self._header_limit_bytes))

    @override
    def on_headers_complete(self) -> None:
        limit_bytes = self._header_limit_bytes
        if self._head_bytes + self._chunk_bytes > limit_bytes and self._size_of_head() > limit_bytes:
            self._door.refused["header_bytes"].inc()
            self.app = _Refusal(HeadersTooLarge(limit_bytes))
            self.url = b"/"  # uvicorn's parser refuses long ones with less to say
        _on_headers_complete(self)
        if len(self.pipeline) > MAX_PIPELINED:
            raise ValueError("too many requests at once on one connection")  # ends the parsing, and the connection
        if self._door.is_closing:
            self.cycle.keep_alive = False

    @property
    def phase(self) -> Phase:
        """What the connection waits for. A body that the application does not take yet is not waited for."""
        cycle = self.cycle
        if cycle is None or cycle.scope is not self.scope:  # type: ignore[redundant-expr]  # None at first
            return Phase.HEAD
        return Phase.BODY if cycle.more_body and not self.flow.read_paused else Phase.OPEN

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        self.progress.stalled_since_s = self._door.now_s()

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        self.progress.stalled_since_s = None

    @override
    def send_400_response(self, msg: str) -> None:
        self.refuse(InvalidRequest("this is not HTTP/1.1, or too much of it at once"))

    def refuse(self, error: NgxError) -> None:
        """Answers with the error where nothing was answered yet, and ends the connection."""
        if not self._is_answered() and not (isinstance(error, TooSlow) and self._is_unused()):
            self.transport.write(whole_answer(error, f"x-{secrets.token_hex(6)}"))
        self.transport.close()

    @property
    def is_ending(self) -> bool:
        return self.transport.is_closing()

    def cut(self) -> None:
        """Ends the connection without waiting for the client to take what is on its way."""
        self.transport.abort()

    def _is_answered(self) -> bool:
        """Whether an answer is under way, or the request's was given: another would be taken for a part of it."""
        cycle = self.cycle
        if cycle is None:
            return False
        return cycle.response_started and not (cycle.response_complete and self.phase is Phase.HEAD)

    def _is_unused(self) -> bool:
        """Whether nothing ever came: browsers and proxies open connections ahead of their use."""
        return self.fed_bytes == 0

    def _size_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)


class _Refusal:
    """Answers one request with an error, whatever it asks."""

    def __init__(self, error: NgxError) -> None:
        self._error = error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, _, body = whole_answer(self._error, f"x-{secrets.token_hex(6)}").partition(b"\r\n\r\n")
        headers: list[tuple[bytes, Any]] = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        await send({"type": "http.response.start", "status": status_of(self._error), "headers": headers})
        await send({"type": "http.response.body", "body": body})
