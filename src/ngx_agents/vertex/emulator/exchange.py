"""One HTTP exchange on raw ASGI: reading the body, answering, and misbehaving on the socket.

`EmulatorProtocol` puts the socket's transport into the scope: a reset or a cut cannot be said in ASGI.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ngx_agents.vertex.emulator.refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON: Header = (b"content-type", b"application/json; charset=UTF-8")
HTML: Header = (b"content-type", b"text/html; charset=UTF-8")
EVENT_STREAM: Header = (b"content-type", b"text/event-stream")
_SOCKET = "ngx.socket"
EXPOSITION: Header = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
ALT_SVC: Header = (b"alt-svc", b'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000')
_VENDOR: tuple[Header, ...] = (
    (b"vary", b"Origin, X-Origin, Referer"),
    (b"server", b"scaffolding on HTTPServer2"),
    (b"x-content-type-options", b"nosniff"),
)


class EmulatorProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the transport of the connection in `scope["extensions"]`."""

    def on_message_begin(self) -> None:  # type: ignore[explicit-override]  # typing.override is of 3.12
        super().on_message_begin()
        self.scope["extensions"] = {_SOCKET: self.transport}  # type: ignore[dict-item]  # ours, not a registered extension


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self._receive = receive
        self._send = send
        self._socket: asyncio.Transport | None = (scope.get("extensions") or {}).get(_SOCKET)

    @property
    def is_gone(self) -> bool:
        """Whether the client has left."""
        return self._socket is not None and self._socket.is_closing()

    def header(self, name: bytes) -> bytes | None:
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    def headers_with(self, prefix: bytes) -> dict[bytes, bytes]:
        """The headers whose names begin with `prefix`, under the rest of their names."""
        length = len(prefix)
        return {key[length:]: value for key, value in self.scope["headers"] if key[:length] == prefix}

    async def body(self, limit_bytes: int = 1 << 20) -> bytes:
        """The whole body. Raises Refusal as soon as it is longer than the limit."""
        message = await self._receive()
        if not message.get("more_body"):
            return self._within(bytes(message.get("body", b"")), limit_bytes)
        parts = [message.get("body", b"")]
        size_bytes = len(parts[0])
        while message.get("more_body"):
            message = await self._receive()
            parts.append(message.get("body", b""))
            size_bytes += len(parts[-1])
            if size_bytes > limit_bytes:
                break
        return self._within(b"".join(parts), limit_bytes)

    @staticmethod
    def _within(body: bytes, limit_bytes: int) -> bytes:
        if len(body) > limit_bytes:
            raise Refusal(400, f"Request payload size exceeds the limit: {limit_bytes} bytes.")
        return body

    async def respond(
        self, status: int, body: bytes, *, content_type: Header = JSON, extra: tuple[Header, ...] = ()
    ) -> None:
        length = (b"content-length", b"%d" % len(body))
        headers = [content_type, length, *_VENDOR, *extra]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    async def start_body(self, length: int) -> None:
        """Announces a whole answer of so many bytes, to be written in pieces."""
        headers = [JSON, (b"content-length", b"%d" % length), *_VENDOR]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    async def start_stream(self, content_type: Header) -> None:
        await self._send({"type": "http.response.start", "status": 200, "headers": [content_type, *_VENDOR]})

    async def write(self, data: bytes) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def write_all(self, frames: list[bytes]) -> bool:
        """Writes the frames one by one; whether the client stayed."""
        send, socket = self._send, self._socket
        for frame in frames:
            if socket is not None and socket.is_closing():
                return False
            await send({"type": "http.response.body", "body": frame, "more_body": True})
        return True

    async def finish(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def reset(self) -> None:
        """Drops the connection at once, unsent bytes included."""
        await self._drop(abort=True)

    async def cut(self) -> None:
        """Ends the connection after what was written, in the middle of the body."""
        await self._drop(abort=False)

    async def wait(self, delay_s: float) -> bool:
        """Waits; whether the client is still there afterwards (leaving ends the wait)."""
        try:
            async with asyncio.timeout(delay_s):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            return True
        return False

    async def _drop(self, *, abort: bool) -> None:
        if self._socket is None:
            raise ConnectionResetError("this server gives no access to its sockets")
        if abort:
            self._socket.abort()
        else:
            self._socket.close()
        await self.wait(0.5)
