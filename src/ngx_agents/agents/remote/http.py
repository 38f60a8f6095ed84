"""HTTP to servers that are somebody else's: bounded in time and bytes, no further than the origins that were named.

Redirects are never followed: who answers for an address must answer at it. Bodies come as they are (no compression, so
that no small answer becomes a big one). What goes wrong is one of the four RemoteErrors.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from ngx_agents.errors import RemoteError, RemoteProtocolError, RemoteRefused, RemoteTimeout, RemoteUnavailable

CONNECT_S = 5.0
MOST_RETRY_AFTER_S = 3600.0


class Reply:
    """An answer that has begun; `chunks` may be read once. Raises RemoteError."""

    def __init__(self, response: aiohttp.ClientResponse, max_bytes: int) -> None:
        self._response = response
        self._left_bytes = max_bytes
        self.status = response.status
        self.media_type = response.content_type.lower()

    def header(self, name: str) -> str | None:
        return self._response.headers.get(name)

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise RemoteProtocolError("the answer is compressed, which was not asked for")
        async for chunk in self._response.content.iter_any():
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise RemoteProtocolError("the answer is larger than allowed")
            yield chunk

    async def body(self) -> bytes:
        return b"".join([chunk async for chunk in self.chunks()])

    def check(self) -> None:
        """Raises what a status other than 2xx or 304 means."""
        status = self.status
        if 200 <= status < 300 or status == 304:
            return
        if 300 <= status < 400:
            raise RemoteProtocolError("it redirects elsewhere; redirects are not followed")
        if status in (429, 503):
            raise RemoteUnavailable("it has no room now", retry_after_s=self._retry_after_s())
        if status >= 500:
            raise RemoteUnavailable(f"it answered with HTTP {status}")
        if status in (401, 403):
            raise RemoteRefused("it does not accept these credentials")
        raise RemoteRefused(f"it refuses the request with HTTP {status}")

    def _retry_after_s(self) -> float:
        told = self.header("Retry-After") or ""
        return min(MOST_RETRY_AFTER_S, float(told)) if told.isascii() and told.isdigit() else 1.0


class ForeignHttp:
    """Enter it before use. `origins` are those that may be asked; `headers` go to every one of them."""

    def __init__(self, origins: Iterable[str], *, headers: Mapping[str, str], max_bytes: int, limit: int) -> None:
        """`limit` bounds the connections, `max_bytes` the body of one answer, inclusive."""
        self._origins = frozenset(filter(None, map(origin_of, origins)))
        self._headers = {"User-Agent": "ngx-agents", "Accept-Encoding": "identity", **headers}
        self._max_bytes = max_bytes
        self._limit = limit
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._limit)
        self._session = aiohttp.ClientSession(
            connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False, trust_env=False
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def may_ask(self, url: str) -> bool:
        return origin_of(url) in self._origins

    @asynccontextmanager
    async def asking(
        self, method: str, url: str, *, timeout_s: float, body: bytes | None = None, headers: Mapping[str, str]
    ) -> AsyncGenerator[Reply]:
        """The answer, while the context is open; all of it within `timeout_s`. Raises RemoteError."""
        if self._session is None:
            raise RemoteUnavailable("this server is not started, or stopped")
        if not self.may_ask(url):
            raise RemoteProtocolError("the address is of an origin that was not named for it")
        if timeout_s <= 0:
            raise RemoteTimeout("no time is left to ask")
        try:
            # the client's own timer, not asyncio.timeout: it interrupts reads only, never whoever handles a chunk
            async with self._session.request(
                method,
                URL(url),
                data=body,
                headers={**self._headers, **headers},
                timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S, ceil_threshold=inf),
                allow_redirects=False,
            ) as response:
                yield Reply(response, self._max_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise _translated(exc) from exc


def origin_of(url: str) -> str | None:
    """Scheme, host and port; None for what is no http address or carries credentials."""
    try:
        parsed = URL(url)
        if parsed.scheme not in ("http", "https") or parsed.user is not None or not parsed.host:
            return None
        return str(parsed.origin())
    except ValueError:
        return None


def auth_headers(header: str, token: str | None) -> dict[str, str]:
    """The header that lets us in; none without a token."""
    if token is None:
        return {}
    return {header: f"Bearer {token}" if header.lower() == "authorization" else token}


def _translated(error: Exception) -> RemoteError:
    # a refused or unroutable address is no timeout, whatever class it comes in
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return RemoteTimeout("it did not answer in time")
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return RemoteUnavailable("it broke the answer off")
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return RemoteProtocolError("its answer is not HTTP as we know it")
    return RemoteUnavailable("it cannot be reached")
