"""The gRPC binding, on a port of its own: the SDK's servicers behind an interceptor that does what the door does for
HTTP. Enter its context to serve; the SDK is loaded then.

A call's `Call` is held in a context variable: interceptor and servicer run in the same task.
"""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from ipaddress import IPv4Network, IPv6Network
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec
from typing_extensions import override

from ngx_agents.errors import ConfigError, RateLimited, Unavailable
from ngx_agents.gateway.a2a.door import NOT_INSTALLED, A2aDoor
from ngx_agents.gateway.a2a.grpc_door import address_of, interceptor
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.auth import Authenticator

if TYPE_CHECKING:
    import grpc.aio

    from ngx_agents.gateway.a2a.call import Call

STOP_S = 2.0
PING_STRIKES = 2
_call: ContextVar[Call] = ContextVar("a2a_call")


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`port` 0 takes a free one. `tls` is (certificate, key) in PEM. `http_url`: where cards say HTTP is served.

    More than `max_calls` at once are refused; more than `max_calls_per_connection` wait. What `trusted_proxies` say of
    the caller's address is believed.
    """

    host: str
    port: int
    http_url: str = ""
    tls: tuple[bytes, bytes] | None = None
    max_calls: int = 10_000
    max_calls_per_connection: int = 2_500
    max_header_bytes: int = 32_768
    idle_s: float = 75.0
    stalled_s: float = 30.0
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()


class GrpcServer:
    """`port` is known once it has started."""

    def __init__(self, door: A2aDoor, auth: Authenticator, settings: A2aSettings, listening: GrpcSettings) -> None:
        self._door = door
        self._auth = auth
        self._settings = settings
        self._listening = listening
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        """Raises ConfigError: the extra is missing, or the port is taken."""
        try:
            edge = await self._door.edge()
            await asyncio.to_thread(_load)
            server = self._made(edge.handler)
        except (ImportError, Unavailable) as error:
            raise ConfigError(f"[a2a] grpc_port: {NOT_INSTALLED}") from error
        place = f"{self._listening.host}:{self._listening.port}"
        try:
            self.port = self._bound(server, place)
        except RuntimeError as error:
            raise ConfigError(f"[a2a] grpc_port: {place} cannot be listened on") from error
        await server.start()
        self._server = server
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            await self._server.stop(STOP_S)

    def _made(self, handler: Any) -> grpc.aio.Server:
        import grpc.aio
        from a2a.compat.v0_3 import a2a_v0_3_pb2_grpc
        from a2a.types import a2a_pb2_grpc

        server = grpc.aio.server(
            interceptors=[interceptor(self._admit)],
            options=self._options(),
            maximum_concurrent_rpcs=self._listening.max_calls,
        )
        add: Any = a2a_pb2_grpc.add_A2AServiceServicer_to_server
        add(_servicer(handler), server)
        if self._settings.speaks_0_3:
            add = a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server
            add(_older_servicer(handler), server)
        return server

    def _options(self) -> list[tuple[str, int]]:
        """What a message and a connection may cost. A connection that does not answer, or that nothing is asked on, is
        ended; one that pings for nothing is too."""
        told, idle_ms = self._listening, int(self._listening.idle_s * 1000)
        return [
            ("grpc.max_receive_message_length", self._settings.max_body_bytes),
            ("grpc.max_metadata_size", told.max_header_bytes),
            ("grpc.absolute_max_metadata_size", told.max_header_bytes),
            ("grpc.max_concurrent_streams", told.max_calls_per_connection),
            ("grpc.max_connection_idle_ms", idle_ms),
            ("grpc.keepalive_time_ms", idle_ms),
            ("grpc.keepalive_timeout_ms", int(told.stalled_s * 1000)),
            ("grpc.http2.max_ping_strikes", PING_STRIKES),
        ]

    def _bound(self, server: grpc.aio.Server, place: str) -> int:
        import grpc

        tls = self._listening.tls
        if tls is None:
            return server.add_insecure_port(place)
        return server.add_secure_port(place, grpc.ssl_server_credentials([(tls[1], tls[0])]))

    async def _admit(self, method: str, metadata: dict[bytes, bytes], peer: str) -> None:
        """Leaves the call in its variable. Raises what authentication raises, and the protocol's errors."""
        from ngx_agents.gateway.a2a.call import Call
        from ngx_agents.gateway.a2a.reading import TRAIL, VERSION, extensions_of, version_of

        forwarded = metadata.get(b"x-forwarded-for", b"")
        address = address_of(peer, forwarded, self._listening.trusted_proxies)
        principal = await self._auth.principal(metadata, address)
        await self._door.greet(principal)
        is_0_3 = method.startswith("/a2a.v1.")
        told = metadata.get(VERSION, b"").decode("latin-1") or ("0.3" if is_0_3 else "")
        version = version_of(told, speaks_0_3=is_0_3 and self._settings.speaks_0_3)
        call = Call(
            principal=principal,
            version=version,
            url=(self._settings.public_url or self._listening.http_url).rstrip("/"),
            extensions=extensions_of(metadata, self._settings.required_extensions),
            idempotency_key=metadata.get(b"idempotency-key", b"").decode("latin-1") or None,
            trail=metadata.get(TRAIL, b"").decode("latin-1"),
        )
        _call.set(call)


def _load() -> None:
    """Imports what takes long, away from the loop."""
    import grpc.aio  # noqa: F401


def _contexts() -> Any:
    from a2a.server.request_handlers.grpc_handler import GrpcServerCallContextBuilder

    class Contexts(GrpcServerCallContextBuilder):
        @override
        def build(self, context: Any) -> Any:
            return _call.get().context()

    return Contexts()


def _older_servicer(handler: Any) -> Any:
    from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler

    from ngx_agents.gateway.a2a.older import as_text

    def with_text_files(request: Any) -> Any:
        for part in request.request.content:
            if part.WhichOneof("part") == "file" and part.file.WhichOneof("file") == "file_with_bytes":
                part.file.file_with_bytes = as_text(part.file.file_with_bytes)
        return request

    class Older(CompatGrpcHandler):
        @override
        async def SendMessage(self, request: Any, context: Any) -> Any:
            return await super().SendMessage(with_text_files(request), context)

        @override
        async def SendStreamingMessage(self, request: Any, context: Any) -> Any:
            async for event in super().SendStreamingMessage(with_text_files(request), context):
                yield event

    return Older(handler, _contexts())


def _servicer(handler: Any) -> Any:
    import grpc
    from a2a.server.request_handlers.grpc_handler import GrpcHandler

    class Servicer(GrpcHandler):
        @override
        async def abort_context(self, error: Any, context: Any) -> None:
            refusal = _call.get().refusal
            if isinstance(refusal, Unavailable):
                await context.abort(grpc.StatusCode.UNAVAILABLE, str(refusal))
            if isinstance(refusal, RateLimited):
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(refusal))
            await super().abort_context(error, context)

    return Servicer(handler, _contexts())
