"""One connection to a Redis server, answers in the order of what was asked (RESP2, parsed by hiredis).

Commands may be sent at any time; each has a future, resolved with the reply (`Refusal` for an error reply) or, when the
connection ends, with `Lost`: always a result, never an exception, so that one whose asker is gone is no noise.
What comes unasked (published hints) goes to `on_unasked`.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, cast

import hiredis
from typing_extensions import override

from ngx_agents.coordination.address import SETTING, Address
from ngx_agents.coordination.failures import CredentialsRefused, Lost, Refusal
from ngx_agents.errors import ConfigError

_NOTHING = object()
STRANGERS = ("WRONGPASS", "NOAUTH", "NOPERM")
FULL = "max number of clients"
Words = tuple[str | bytes | int, ...]


def pack(words: Words) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # typed as a tuple of one
    return packed


class Wire(asyncio.Protocol):
    """`on_end` hears once that the connection has ended."""

    def __init__(
        self, on_end: Callable[[], None] | None = None, on_unasked: Callable[[Any], None] | None = None
    ) -> None:
        self._on_end = on_end
        self._on_unasked = on_unasked
        self._reader = hiredis.Reader(replyError=Refusal, notEnoughData=_NOTHING)
        self._transport: asyncio.Transport | None = None
        self._expected: deque[asyncio.Future[Any]] = deque()
        self.replies = 0

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    @property
    def unsent_bytes(self) -> int:
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    @property
    def unanswered(self) -> int:
        return len(self._expected)

    def send(self, packed: bytes, answers: Iterable[asyncio.Future[Any]] = ()) -> None:
        """`answers`: one future per command in `packed`."""
        if self._transport is None:
            for answer in answers:
                _resolve(answer, Lost())
            return
        self._expected.extend(answers)
        self._transport.write(packed)

    async def ask(self, *words: str | bytes | int) -> Any:
        """The reply. Raises Refusal, Lost."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.send(pack(words), (answer,))
        reply = await answer
        if isinstance(reply, Exception):
            raise reply
        return reply

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self.connection_lost(None)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes
        self._transport = cast(asyncio.Transport, transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _NOTHING:
                self._receive(reply)
        except hiredis.ProtocolError:
            self.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is None:
            return
        self._transport = None
        while self._expected:
            _resolve(self._expected.popleft(), Lost())
        if self._on_end is not None:
            self._on_end()

    def _receive(self, reply: Any) -> None:
        if self._expected:
            self.replies += 1
            _resolve(self._expected.popleft(), reply)
        elif self._on_unasked is not None:
            self._on_unasked(reply)


def _resolve(answer: asyncio.Future[Any], reply: Any) -> None:
    if not answer.done():
        answer.set_result(reply)


class Dialler:
    """Opens connections to the servers of one address."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._tls: ssl.SSLContext | None = None

    def prepare(self) -> None:
        """Reads the certificates, once. Raises ConfigError."""
        address = self._address
        if not address.is_tls or self._tls is not None:
            return
        try:
            context = ssl.create_default_context(cafile=address.ca_file)
            if address.cert_file is not None:
                context.load_cert_chain(address.cert_file, address.key_file)
        except OSError as error:
            raise ConfigError(f"{SETTING}: ca_file, cert_file or key_file cannot be read") from error
        self._tls = context

    async def connect(
        self,
        host: str,
        port: int,
        *,
        on_end: Callable[[], None] | None = None,
        on_unasked: Callable[[Any], None] | None = None,
    ) -> Wire:
        """A connection that may be used. Raises CredentialsRefused, Refusal, Lost, OSError."""
        self.prepare()
        loop = asyncio.get_running_loop()
        name = host if self._tls is not None else None
        _, wire = await loop.create_connection(
            lambda: Wire(on_end, on_unasked), host, port, ssl=self._tls, server_hostname=name
        )
        try:
            await self._greet(wire)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _greet(self, wire: Wire) -> None:
        address = self._address
        try:
            if address.password is not None:
                user = () if address.user is None else (address.user,)
                await wire.ask("AUTH", *user, address.password)
            if address.database:
                await wire.ask("SELECT", address.database)
            else:
                await wire.ask("PING")
        except Refusal as refused:
            if refused.code in STRANGERS or (refused.code == "ERR" and FULL not in str(refused)):
                raise CredentialsRefused from None
            raise
