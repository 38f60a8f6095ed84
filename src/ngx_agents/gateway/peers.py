"""Asks other instances about turns that run there, over HTTP, signed; and answers them (`PeerRoutes`).

Every answer tells how much is let in where it comes from (`resilience.peer_load`), in a header and, while a stream goes
on, in comments; so an instance that runs no turns itself knows down to which level to let in, without Redis.

A peer that does not answer within `CONNECT_S`, or falls silent for longer than its heartbeats allow, is Unavailable;
the caller looks again who holds the turn.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import aiohttp
import msgspec

from ngx_agents.clock import Clock
from ngx_agents.errors import InvalidRequest, NotFound, Unavailable
from ngx_agents.gateway.event_stream import EventStream, Readable
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.peer_signature import PeerSignature
from ngx_agents.state.model import Owner
from ngx_agents.telemetry.log import event_log
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.events import ELSEWHERE, parse_event_id
from ngx_agents.turns.peers import PeerEvent
from ngx_agents.turns.unwatched import UNWATCHED

PREFIX = "/internal/turns/"
CONNECT_S, SILENT_S, STOP_S = 2.0, 25.0, 5.0
MAX_CONNECTIONS = 2000
MAX_EVENT_BYTES = 4 * 2**20
CODES = ("cancelled", "interrupted", UNWATCHED)
LOAD = "ngx-load"
LOAD_COMMENT = b": load "
TELL_EVERY_S = 1.0
Heard = Callable[[bytes], bool]
log = event_log("gateway")


class HttpPeers:
    """Implements `turns.peers.Peers`. Enter it before use.

    `ca_file` (PEM) is who signs the certificates of other instances, None for whom the system trusts. `heard` is handed
    what they say of their load, and answers whether it could be read.
    """

    def __init__(self, signature: PeerSignature, *, ca_file: str | None = None, heard: Heard | None = None) -> None:
        self._heard = heard
        self._signature = signature
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        trusted = ssl.create_default_context(cafile=self._ca_file) if self._ca_file is not None else True
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=trusted)
        self._session = aiohttp.ClientSession(
            connector=connector, auto_decompress=False, read_bufsize=2**16, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @asynccontextmanager
    async def events(
        self, address: str, turn_id: str, owner: Owner, *, after: str | None
    ) -> AsyncIterator[AsyncIterator[PeerEvent]]:
        path = f"{PREFIX}{turn_id}/events"
        headers = self._signature.headers("GET", path, owner)
        if after is not None:
            headers["last-event-id"] = after
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=SILENT_S)
        try:
            async with self._open.get(
                address + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                self._hear(answer.headers.get(LOAD))
                _check(answer)
                yield self._events(answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise Unavailable("the instance that runs the turn cannot be reached") from exc

    async def stop(self, address: str, turn_id: str, owner: Owner, *, code: str) -> None:
        path = f"{PREFIX}{turn_id}/{code}"
        headers = self._signature.headers("POST", path, owner)
        timeout = aiohttp.ClientTimeout(total=STOP_S)
        try:
            async with self._open.post(
                address + path, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                self._hear(answer.headers.get(LOAD))
                _check(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise Unavailable("the instance that runs the turn cannot be reached") from exc

    def _hear(self, told: str | bytes | None) -> None:
        if told is None or self._heard is None:
            return
        payload = told.encode("utf-8", "surrogateescape") if isinstance(told, str) else told
        if not self._heard(payload):
            log.warning("admission.not_understood", size_bytes=len(payload))

    async def _events(self, content: aiohttp.StreamReader) -> AsyncIterator[PeerEvent]:
        """Raises Unavailable for what no instance sends."""
        rest = b""
        async for chunk in content.iter_any():
            *frames, rest = (rest + chunk).split(b"\n\n")
            if len(rest) > MAX_EVENT_BYTES:
                raise Unavailable("the other instance sends an event without an end")
            for frame in frames:
                if frame.startswith(LOAD_COMMENT):
                    self._hear(frame.removeprefix(LOAD_COMMENT))
                elif (event := _event(frame)) is not None:
                    yield event

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable("this server is not started, or stopped")
        return self._session


class PeerRoutes:
    """What other instances may ask here. `load` is what they are told of this one's, None where no turns run."""

    def __init__(self, engine: TurnEngine, signature: PeerSignature, *, load: Callable[[], bytes] | None) -> None:
        self._engine = engine
        self._load = load
        self._signature = signature

    async def answer(self, exchange: Exchange) -> None:
        """Raises Unauthenticated, NotFound, InvalidRequest."""
        exchange.route = f"{PREFIX}{{turn_id}}"
        method, path = exchange.scope["method"], exchange.scope["path"]
        owner = self._signature.owner_of(method, path, exchange.headers)
        if self._load is not None:
            exchange.announced = (*exchange.announced, (LOAD.encode(), self._load()))
        turn_id, _, what = path.removeprefix(PREFIX).partition("/")
        if method == "GET" and what == "events":
            listening: Readable = self._engine.subscribe_here(turn_id, owner, exchange.header(b"last-event-id"))
            if self._load is not None:
                listening = _Telling(listening, self._load, self._engine.clock)
            exchange.stream = EventStream(listening)
        elif method == "POST" and what in CODES:
            self._engine.stop_here(turn_id, owner, what)
            await exchange.reply(204, b"", ())
        else:
            raise NotFound("there is nothing at this path")


def _check(answer: aiohttp.ClientResponse) -> None:
    if answer.status in (200, 204):
        return
    if answer.status == 401:
        raise Unavailable("the other instance has another NGX_SECRET_KEY, or its clock is off by more than 30 s")
    raise Unavailable("the turn does not run there any more", retry_after_s=0.2)


class _Telling:
    """What is listened to, with the load before it about once a second."""

    __slots__ = ("_listening", "_load", "_next_s", "_now_s")

    def __init__(self, listening: Readable, load: Callable[[], bytes], clock: Clock) -> None:
        self._listening = listening
        self._load = load
        self._now_s = clock.monotonic_s
        self._next_s = clock.monotonic_s() + TELL_EVERY_S  # the header says it first

    async def read(self) -> bytes | None:
        frames = await self._listening.read()
        if not frames or frames is ELSEWHERE or self._now_s() < self._next_s:
            return frames
        self._next_s = self._now_s() + TELL_EVERY_S
        return LOAD_COMMENT + self._load() + b"\n\n" + frames

    def close(self) -> None:
        self._listening.close()


def _event(frame: bytes) -> PeerEvent | None:
    """None for a comment."""
    fields: dict[bytes, bytes] = {}
    for line in frame.split(b"\n"):
        name, _, value = line.partition(b": ")
        fields[name] = value
    if b"event" not in fields:
        return None
    try:
        event_id = parse_event_id(fields[b"id"].decode()) if b"id" in fields else None
        return PeerEvent(fields[b"event"].decode(), msgspec.json.decode(fields.get(b"data", b"")), event_id)
    except (InvalidRequest, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Unavailable("the other instance sends what cannot be read") from exc
