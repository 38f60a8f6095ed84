"""The seam to the wire: one HTTP POST, answered whole or as a stream.

A transport knows bytes, places and deadlines; it knows nothing of models. Entering it starts it, leaving it ends every
call still open. All methods belong to one event loop and may be called concurrently.

Contract of every implementation (`tests/vertex/transport_conformance.py`):
- any status is an answer, not an error; bodies arrive byte for byte
- ModelUnavailable: refused, reset, cut before the body's end, or too many calls waiting for a place
- ModelProtocolError: the body is larger than `max_body_bytes`; its connection, or its stream of it, is closed
- ModelTimeout: `deadline_s` passed, wherever the call was: waiting for a place, connecting, or between two chunks
- leaving a stream early, or cancelling its reader, closes it upstream and frees its place at once
- a cancelled call lets its caller go at once; what was not answered yet is closed, with its place, at the latest when
  the peer begins to answer or the deadline passes
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, Protocol, Self

import msgspec

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Http2 = Literal["auto", "prior_knowledge", "off"]


class ConnectionSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How connections are made and used. `ca_file`: a PEM bundle trusted beside the system's authorities.

    `max_body_bytes` bounds one answer, streamed or not, inclusive. `calls_per_connection` bounds the calls at once on
    an HTTP/2 connection, where the peer does not announce less. After `max_failures` failed calls in a row a
    connection is replaced; idle for `idle_s`, it is closed.
    """

    ca_file: str | None = None
    max_body_bytes: int = 32 * 1024 * 1024
    calls_per_connection: int = 100  # what Google's front ends and most proxies allow at the least
    max_failures: int = 5
    idle_s: float = 60.0


class PostCall(msgspec.Struct, frozen=True):
    """`origin` is scheme, host and port; `path` carries the query. `deadline_s` is absolute and monotonic.

    Nearly every call is a POST, hence the name; contexts kept at the provider are also read, renewed and deleted.
    """

    origin: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    deadline_s: float
    method: Method = "POST"


class Posted(msgspec.Struct, frozen=True):
    """A whole answer. `header` looks a header up by its lower-case name."""

    status: int
    body: bytes
    header: Callable[[str], str | None]


class PostStream(msgspec.Struct, frozen=True):
    """An answer that has begun. `chunks` yields the body as it arrives, in pieces of any size."""

    status: int
    header: Callable[[str], str | None]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Sends calls. `stream` is a context: the call ends when it is left."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def post(self, call: PostCall) -> Posted: ...

    def stream(self, call: PostCall) -> AbstractAsyncContextManager[PostStream]: ...
