"""The pools of one transport, one for each origin, opened as the origin is found to speak.

An origin that may speak HTTP/2 is greeted before its first call, once for all calls that wait for it, and again after
all of its connections failed. Clients are then made for one version of HTTP only, so that calls which start together
on a cold connection share it.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from pyreqwest.client import Client, ClientBuilder

from ngx_agents.clock import Clock
from ngx_agents.errors import ConfigError, ModelError, ModelTimeout, ModelUnavailable
from ngx_agents.vertex.greeting import Greeting, greet
from ngx_agents.vertex.pool import Pool, PoolBounds
from ngx_agents.vertex.strays import Strays
from ngx_agents.vertex.transport import ConnectionSettings, Http2

CONNECT_TIMEOUT_S = 10.0
# Windows of fixed size, not adaptive ones: the library closes a connection on which small unread frames exceed half
# of the window it began with, and 64 KB to begin with hold only a hundred frames of a stream of tokens
CONNECTION_WINDOW_BYTES = 16 * 1024 * 1024
STREAM_WINDOW_BYTES = 1024 * 1024
PING_EVERY = timedelta(seconds=30)  # while calls are open: finds a peer that vanished without a word
PING_TIMEOUT = timedelta(seconds=10)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class Origins:
    """`strays` runs what outlives a call: greetings, and the closing of connections."""

    def __init__(
        self,
        connections: ConnectionSettings,
        *,
        http2: Http2,
        connection_pool_size: int,
        clock: Clock,
        on_wait: Callable[[float], None],
        strays: Strays,
    ) -> None:
        self._connections = connections
        self._http2 = http2
        self._size = connection_pool_size
        self._clock = clock
        self._on_wait = on_wait
        self._strays = strays
        self._authorities: list[bytes] = []
        self._pools: dict[str, Pool[Client]] = {}
        self._greetings: dict[str, asyncio.Task[Greeting | ModelError]] = {}

    def load(self) -> None:
        """Reads `ca_file`. Raises ConfigError."""
        if self._connections.ca_file is not None:
            self._authorities = authorities(self._connections.ca_file)

    def ready(self, origin: str) -> Pool[Client] | None:
        """The pool of `origin`, if nothing has to be asked first."""
        pool = self._pools.get(origin)
        return None if pool is None or pool.is_failed else pool

    async def open(self, origin: str, deadline_s: float) -> Pool[Client]:
        """The pool of `origin`, after a greeting if need be. Raises ModelTimeout, ModelUnavailable."""
        greeting = Greeting(is_multiplexed=False)
        if self._http2 == "prior_knowledge" or (self._http2 == "auto" and origin.startswith("https:")):
            greeting = await self._greeted(origin, deadline_s)
        if (pool := self.ready(origin)) is not None:
            return pool
        make, bounds = partial(self._client, origin, greeting), self._bounds(greeting)
        if (pool := self._pools.get(origin)) is not None:
            pool.adapt(make, bounds)
            return pool
        pool = Pool(make, self._close, bounds=bounds, clock=self._clock, on_wait=self._on_wait)
        self._pools[origin] = pool
        return pool

    def clear(self) -> None:
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.clear()

    async def _greeted(self, origin: str, deadline_s: float) -> Greeting:
        task = self._greetings.get(origin)
        if task is None:
            task = self._greetings[origin] = self._strays.start(self._greet(origin))
            task.add_done_callback(lambda _: self._greetings.pop(origin, None))
        try:
            async with asyncio.timeout(max(0.0, deadline_s - self._clock.monotonic_s())):
                answer = await asyncio.shield(task)
        except TimeoutError as exc:
            raise ModelTimeout("the model was not reached in time") from exc
        if isinstance(answer, ModelError):
            raise answer
        return answer

    async def _greet(self, origin: str) -> Greeting | ModelError:
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                return await greet(origin, is_multiplexed=self._http2 == "prior_knowledge")
        except OSError:  # TimeoutError and ssl.SSLError among them
            return ModelUnavailable("the connection to the model failed")

    def _bounds(self, greeting: Greeting) -> PoolBounds:
        use = self._connections
        if not greeting.is_multiplexed:
            return PoolBounds(max_slots=1, calls_per_slot=self._size)  # the library closes what is idle
        streams = use.calls_per_connection if greeting.max_streams is None else greeting.max_streams
        return PoolBounds(
            max_slots=self._size,
            calls_per_slot=max(1, min(streams, use.calls_per_connection)),
            max_failures=use.max_failures,
            idle_s=use.idle_s,
        )

    def _client(self, origin: str, greeting: Greeting) -> Client:
        builder = ClientBuilder().no_proxy().follow_redirects(False)
        builder = builder.connect_timeout(timedelta(seconds=CONNECT_TIMEOUT_S))
        builder = builder.pool_idle_timeout(timedelta(seconds=self._connections.idle_s))
        for authority in self._authorities:
            builder = builder.add_root_certificate_pem(authority)
        if origin.startswith("http:"):
            # no TLS is spoken with this client, and reading the system's authorities costs 5 ms of the loop
            builder = builder.danger_accept_invalid_certs(True)
        if not greeting.is_multiplexed:
            return builder.http1_only().build()
        builder = builder.http2_keep_alive_interval(PING_EVERY).http2_keep_alive_timeout(PING_TIMEOUT)
        builder = builder.http2_initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        return builder.http2_initial_stream_window_size(STREAM_WINDOW_BYTES).http2_prior_knowledge().build()

    def _close(self, client: Client) -> None:
        self._strays.adopt(client.close())


def authorities(ca_file: str) -> list[bytes]:
    """The certificates in a PEM bundle. Raises ConfigError when there is none or the file cannot be read."""
    try:
        ssl.create_default_context(cafile=ca_file)
        found = _PEM.findall(Path(ca_file).read_bytes())
    except OSError as exc:
        raise ConfigError(f"ca_file {ca_file} is no readable PEM bundle of certificates") from exc
    if not found:
        raise ConfigError(f"ca_file {ca_file} holds no certificate")
    return found
