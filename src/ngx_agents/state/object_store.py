"""A bucket of an S3-compatible object store: put, get, delete, list; signed, with a timeout and a breaker of its own.

Nothing is retried here: a caller that is told ObjectsUnavailable asks again. At most MAX_AT_ONCE calls are under way;
who comes then waits within the timeout. Redirects are not followed: they would carry the signature elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import aiohttp
import msgspec
from yarl import URL

from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import ObjectsUnavailable
from ngx_agents.resilience.breaker import Breaker, BreakerRules, BreakerState
from ngx_agents.state.object_signing import EMPTY_SHA256, Query, Signer, ToSign, encoded_path, encoded_query
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

log = event_log("state")
MAX_AT_ONCE = 32
MAX_OBJECT_BYTES = 16 * 2**20
MAX_LIST_BYTES = 4 * 2**20
RULES = BreakerRules(min_calls=5, open_s=5.0, max_open_s=30.0, probes=2)
_XML = "{http://s3.amazonaws.com/doc/2006-03-01/}"


class ObjectSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the endpoint's; `is_path_style` puts the bucket into the path instead of the host's name."""

    url: str
    bucket: str
    region: str
    access_key: str
    secret_key: str
    prefix: str = "ngx/"
    is_path_style: bool = True
    timeout_s: float = 10.0
    connect_s: float = 2.0


class StoredObject(msgspec.Struct, frozen=True):
    """`age_s` by the store's own clock."""

    key: str
    age_s: float


class ObjectStore:
    """Keys are without the prefix. Enter `open` before use; every method raises ObjectsUnavailable."""

    def __init__(self, settings: ObjectSettings, *, clock: Clock, rng: Rng, metrics: Metrics) -> None:
        self._settings = settings
        self._clock = clock
        self._signer = Signer(access_key=settings.access_key, secret_key=settings.secret_key, region=settings.region)
        base = urlsplit(settings.url.rstrip("/"))
        host = base.netloc if settings.is_path_style else f"{settings.bucket}.{base.netloc}"
        self._host = host
        self._origin = f"{base.scheme}://{host}"
        self._root = encoded_path(f"/{settings.bucket}/" if settings.is_path_style else "/")
        self._breaker = Breaker(RULES, clock=clock, rng=rng, on_change=_changed)
        calls = metrics.counter("ngx_objects_calls_total", "Calls to the object store.", "method", "outcome")
        self._calls = calls
        self._session: aiohttp.ClientSession | None = None
        self._places = asyncio.Semaphore(MAX_AT_ONCE)

    async def open(self) -> None:
        connector = aiohttp.TCPConnector(limit=MAX_AT_ONCE)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False)

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def put(self, key: str, data: bytes, *, sha256: str) -> None:
        async with self._call("PUT", self._path(key), data=data, sha256=sha256) as answer:
            _expect(answer, 200)

    async def get(self, key: str) -> bytes | None:
        """None when there is no such object."""
        async with self._call("GET", self._path(key)) as answer:
            if answer.status == 404:
                return None
            _expect(answer, 200)
            return await _read(answer, MAX_OBJECT_BYTES)

    async def delete(self, key: str) -> None:
        """Also when it is not there."""
        async with self._call("DELETE", self._path(key)) as answer:
            _expect(answer, 204, 200, 404)

    async def page(self, folder: str = "", *, after: str | None = None, most: int = 1000) -> list[StoredObject]:
        """The objects whose keys begin with `folder`, in order; those behind `after`."""
        prefix = self._settings.prefix
        query = [("list-type", "2"), ("prefix", prefix + folder), ("max-keys", str(most))]
        if after is not None:
            query.append(("start-after", prefix + after))
        async with self._call("GET", self._root, query=query) as answer:
            _expect(answer, 200)
            now_s = parsedate_to_datetime(answer.headers["date"]).timestamp() if "date" in answer.headers else None
            return _objects(await _read(answer, MAX_LIST_BYTES), prefix, now_s or self._clock.now_s())

    def _path(self, key: str) -> str:
        return self._root + encoded_path(self._settings.prefix + key)

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, *, query: Query = (), data: bytes | None = None, sha256: str = EMPTY_SHA256
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer, whatever its status. What goes wrong in the caller's hands counts as the call's failure."""
        ticket = self._breaker.admit()
        if ticket is None:
            self._calls.labels(method, "refused").inc()
            raise ObjectsUnavailable("the object store is left alone", retry_after_s=self._breaker.retry_after_s or 1.0)
        outcome = "failed"
        try:
            async with (
                asyncio.timeout(self._settings.timeout_s),
                self._places,
                self._sent(method, path, query=query, data=data, sha256=sha256) as answer,
            ):
                yield answer
            outcome = "done"
            ticket.succeeded()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            ticket.failed()
            raise ObjectsUnavailable("the object store cannot be reached in time", retry_after_s=2.0) from error
        except ObjectsUnavailable:
            ticket.failed()
            raise
        finally:
            ticket.ignored()
            self._calls.labels(method, outcome).inc()

    def _sent(self, method: str, path: str, *, query: Query, data: bytes | None, sha256: str) -> Any:
        if self._session is None:
            raise ObjectsUnavailable("the object store is closed")
        request = ToSign(method=method, path=path, host=self._host, query=query, payload_sha256=sha256)
        headers = self._signer.headers(request, now_s=self._clock.now_s())
        sought = f"?{encoded_query(query)}" if query else ""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.connect_s)
        return self._session.request(
            method,
            URL(f"{self._origin}{path}{sought}", encoded=True),
            data=data,
            headers=headers,
            timeout=timeout,
            allow_redirects=False,
        )


def _expect(answer: aiohttp.ClientResponse, *statuses: int) -> None:
    """Raises ObjectsUnavailable, in words for whoever runs the server: the caller can do nothing about it."""
    if answer.status in statuses:
        return
    log.error("objects.refused", status=answer.status)
    if answer.status in (401, 403):
        raise ObjectsUnavailable("the object store refuses this server's credentials", retry_after_s=30.0)
    if answer.status == 404:
        raise ObjectsUnavailable("the object store has no such bucket", retry_after_s=30.0)
    raise ObjectsUnavailable("the object store refuses the request", retry_after_s=5.0)


async def _read(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    parts, size_bytes = [], 0
    async for part in answer.content.iter_any():
        size_bytes += len(part)
        if size_bytes > most_bytes:
            raise ObjectsUnavailable("the object store's answer is too large")
        parts.append(part)
    return b"".join(parts)


def _objects(body: bytes, prefix: str, now_s: float) -> list[StoredObject]:
    try:
        found = [
            (entry.findtext(f"{_XML}Key") or "", entry.findtext(f"{_XML}LastModified") or "")
            for entry in ElementTree.fromstring(body).iter(f"{_XML}Contents")
        ]
        return [
            StoredObject(key.removeprefix(prefix), now_s - msgspec.convert(at, datetime).timestamp())
            for key, at in found
        ]
    except (ElementTree.ParseError, msgspec.ValidationError) as error:
        raise ObjectsUnavailable("the object store's answer cannot be understood") from error


def _changed(state: BreakerState, reason: str) -> None:
    log.warning("objects.breaker", state=state, reason=reason)
