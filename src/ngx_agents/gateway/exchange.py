"""One HTTP request and its answer, on raw ASGI: what every handler is given.

An exchange belongs to one task. It is kept small, because thousands of idle event streams hold one each.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
from starlette.types import Message, Receive, Scope, Send

from ngx_agents.errors import BodyTooLarge, InvalidRequest, NgxError, Unauthenticated, UnsupportedMediaType
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.problems import MEDIA_TYPE, Problem, headers_of, problem_of, status_of

if TYPE_CHECKING:
    from ngx_agents.gateway.event_stream import EventStream

Header = tuple[bytes, bytes]
JSON = (b"content-type", b"application/json")
NOT_SNIFFED = (b"x-content-type-options", b"nosniff")
NOT_STORED = (b"cache-control", b"no-store")
# a refused upload up to this size is read to its end and dropped, so that the client gets to see the answer
DRAINED_BYTES = 32 * 1_048_576
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_encode = msgspec.json.encode


def render_problem(problem: Problem) -> tuple[bytes, bytes]:
    """Media type and body."""
    return MEDIA_TYPE, _encode(problem)


class Exchange:
    """`status` is 0 until the answer has begun; `route` is the path template, for metrics; `announced` are headers that
    every answer gets.

    A handler that answers with events leaves them in `stream`: they are sent when its own frames are gone.
    """

    __slots__ = (
        "_principal",
        "announced",
        "headers",
        "receive",
        "render",
        "request_id",
        "route",
        "scope",
        "send",
        "status",
        "stream",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._principal: Principal | None = None
        self.route = "other"
        self.status = 0
        self.announced: tuple[Header, ...] = ()
        self.request_id = b""
        self.stream: EventStream | None = None
        self.render: Callable[[Problem], tuple[bytes, bytes]] = render_problem

    @property
    def principal(self) -> Principal:
        """Who calls. Raises Unauthenticated until that was found out: a way in that forgets to ask lets nobody in."""
        if self._principal is None:
            raise Unauthenticated("nobody has said who calls")
        return self._principal

    @principal.setter
    def principal(self, found: Principal) -> None:
        self._principal = found

    @property
    def address(self) -> str:
        """Where the caller is, as far as the socket (or a trusted proxy) says."""
        client = self.scope.get("client")
        return str(client[0]) if client else ""

    def identify(self, made: Callable[[], bytes]) -> None:
        """Takes the caller's `X-Request-Id` when it is a plain word, or makes one."""
        given = self.headers.get(b"x-request-id")
        self.request_id = given if given is not None and _REQUEST_ID.fullmatch(given) else made()

    def header(self, name: bytes) -> str | None:
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def parameters(self) -> dict[str, str]:
        """What the path template captured."""
        captured: dict[str, str] = self.scope["path_params"]
        return captured

    async def body(self, limit_bytes: int) -> bytes:
        """The JSON body, undecoded. Raises UnsupportedMediaType, BodyTooLarge (unread, if declared)."""
        if not _is_json(self.headers.get(b"content-type", b"")):
            raise UnsupportedMediaType("the body must be application/json")
        return await self.raw_body(limit_bytes)

    @property
    def media_type(self) -> str:
        """What Content-Type says, without parameters, in lower case; empty when it says nothing."""
        return self.headers.get(b"content-type", b"").split(b";", 1)[0].strip().lower().decode("latin-1")

    async def raw_body(self, limit_bytes: int) -> bytes:
        """The body, whatever it is. Raises BodyTooLarge (unread, if declared)."""
        parts = [part async for part in self.parts(limit_bytes)]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def parts(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises BodyTooLarge (unread, if declared), InvalidRequest when it ends early."""
        if self.declared_bytes() > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        size_bytes, more = 0, True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("the body ended early")
            part = message.get("body", b"")
            size_bytes += len(part)
            if size_bytes > limit_bytes:
                raise BodyTooLarge(limit_bytes)
            yield part
            more = message.get("more_body", False)

    async def reply(self, status: int, body: bytes, headers: Sequence[Header] = (JSON,)) -> None:
        """Sends the whole answer."""
        await self.start(status, (*headers, (b"content-length", b"%d" % len(body))))
        await self.send({"type": "http.response.body", "body": body})

    async def reply_json(self, value: object, status: int = 200, headers: Sequence[Header] = ()) -> None:
        await self.reply(status, _encode(value), (JSON, *headers))

    async def start(self, status: int, headers: Sequence[Header]) -> None:
        """Sends status line and headers; the body is then the caller's to send."""
        self.status = status
        common = (NOT_SNIFFED, NOT_STORED, (b"x-request-id", self.request_id), *self.announced)
        await self.send({"type": "http.response.start", "status": status, "headers": [*headers, *common]})

    def forget_request(self) -> None:
        """Lets go of what nobody reads any more, before a long silence."""
        self.headers.clear()
        self.scope["headers"].clear()

    def noting_status(self) -> Send:
        """`send` for an application of its own, so that its answer is counted."""

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.status = message["status"]
            await self.send(message)

        return send

    async def fail(self, error: NgxError) -> None:
        """Answers with the error, if no answer has begun."""
        if self.status:
            return
        media_type, body = self.render(problem_of(error, self.request_id.decode()))
        headers = [(b"content-type", media_type), *headers_of(error)]
        if isinstance(error, BodyTooLarge) and not 0 < self.declared_bytes() <= DRAINED_BYTES:
            headers.append((b"connection", b"close"))
        await self.reply(status_of(error), body, headers)

    def declared_bytes(self) -> int:
        """0 when the length is not declared."""
        declared = self.headers.get(b"content-length", b"0")
        return int(declared) if declared.isdigit() else 0


def _is_json(media_type: bytes) -> bool:
    return media_type == b"application/json" or media_type.split(b";", 1)[0].strip().lower() == b"application/json"
