"""One HTTP request to the local model and its answer, over raw ASGI."""

from __future__ import annotations

import math

import msgspec
from starlette.types import Receive, Scope, Send

from ngx_agents.errors import (
    BodyTooLarge,
    MethodNotAllowed,
    NgxError,
    NotFound,
    RequestError,
    Unauthenticated,
    Unavailable,
)

JSON = (b"content-type", b"application/json")
SSE = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
STATUS: dict[type[NgxError], int] = {
    Unauthenticated: 401,
    NotFound: 404,
    MethodNotAllowed: 405,
    BodyTooLarge: 413,
    RequestError: 400,
    Unavailable: 503,
}
_encode = msgspec.json.Encoder().encode


class Exchange:
    """Reads a bounded body, answers once: whole, as events, or with an error in OpenAI's form."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.has_begun = False
        self._headers: list[tuple[bytes, bytes]] = scope["headers"]
        self._receive = receive
        self._send = send

    def header(self, name: bytes) -> bytes:
        return next((value for key, value in self._headers if key == name), b"")

    async def body(self, limit_bytes: int) -> bytes:
        """Raises BodyTooLarge. A caller that leaves halfway has sent what it has sent."""
        body = bytearray()
        while True:
            message = await self._receive()
            body += message.get("body", b"")
            if len(body) > limit_bytes:
                raise BodyTooLarge(limit_bytes)
            if not message.get("more_body", False):
                return bytes(body)

    async def gone(self) -> None:
        """Returns when the caller has disconnected. The body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def respond(self, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
        self.has_begun = True
        length = (b"content-length", str(len(body)).encode())
        await self._send({"type": "http.response.start", "status": status, "headers": [JSON, length, *headers]})
        await self._send({"type": "http.response.body", "body": body})

    async def event(self, data: bytes) -> None:
        if not self.has_begun:
            self.has_begun = True
            await self._send({"type": "http.response.start", "status": 200, "headers": SSE})
        await self._send({"type": "http.response.body", "body": b"data: %b\n\n" % data, "more_body": True})

    async def end(self) -> None:
        await self._send({"type": "http.response.body", "body": b""})

    async def refuse(self, error: NgxError) -> None:
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
        told = {"error": {"message": str(error), "type": error.code, "code": status}}
        headers = [(b"connection", b"close")] if status == 413 else []
        if isinstance(error, Unavailable):
            headers.append((b"retry-after", str(max(1, math.ceil(error.retry_after_s))).encode()))
        await self.respond(status, _encode(told), *headers)
