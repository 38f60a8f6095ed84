"""The gRPC binding, on a port of its own: the SDK's servicers behind an interceptor that does what the door does for
HTTP. Enter its context to serve; the SDK is loaded then.

A call's `Call` is held in a context variable: interceptor and servicer run in the same task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import msgspec
from typing_extensions import override

from ngx_agents.errors import ConfigError, Forbidden, NgxError, RateLimited, Unauthenticated, Unavailable
from ngx_agents.gateway.a2a.door import NOT_INSTALLED, A2aDoor
from ngx_agents.gateway.a2a.settings import A2aSettings
from ngx_agents.gateway.auth import Authenticator

if TYPE_CHECKING:
    import grpc.aio

    from ngx_agents.gateway.a2a.call import Call

STOP_S = 2.0
_call: ContextVar[Call] = ContextVar("a2a_call")


class GrpcSettings(msgspec.Struct, frozen=True, kw_only=True):
    """`port` 0 takes a free one. `tls` is (certificate, key) in PEM. `http_url`: where cards say HTTP is served."""

    host: str
    port: int
    http_url: str = ""
    tls: tuple[bytes, bytes] | None = None


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
        from a2a.compat.v0_3.grpc_handler import CompatGrpcHandler
        from a2a.types import a2a_pb2_grpc

        options = [("grpc.max_receive_message_length", self._settings.max_body_bytes)]
        server = grpc.aio.server(interceptors=[_interceptor(self._admit)], options=options)
        add: Any = a2a_pb2_grpc.add_A2AServiceServicer_to_server
        add(_servicer(handler), server)
        if self._settings.speaks_0_3:
            add = a2a_v0_3_pb2_grpc.add_A2AServiceServicer_to_server
            add(CompatGrpcHandler(handler, _contexts()), server)
        return server

    def _bound(self, server: grpc.aio.Server, place: str) -> int:
        import grpc

        tls = self._listening.tls
        if tls is None:
            return server.add_insecure_port(place)
        return server.add_secure_port(place, grpc.ssl_server_credentials([(tls[1], tls[0])]))

    async def _admit(self, method: str, metadata: dict[bytes, bytes]) -> Call:
        """Raises what authentication raises, and the protocol's errors."""
        from ngx_agents.gateway.a2a.call import Call
        from ngx_agents.gateway.a2a.reading import VERSION, extensions_of, version_of

        principal = await self._auth.principal(metadata)
        self._door.greet(principal)
        is_0_3 = method.startswith("/a2a.v1.")
        told = metadata.get(VERSION, b"").decode("latin-1") or ("0.3" if is_0_3 else "")
        version = version_of(told, speaks_0_3=is_0_3 and self._settings.speaks_0_3)
        return Call(
            principal=principal,
            version=version,
            url=(self._settings.public_url or self._listening.http_url).rstrip("/"),
            extensions=extensions_of(metadata, self._settings.required_extensions),
            idempotency_key=metadata.get(b"idempotency-key", b"").decode("latin-1") or None,
        )


def _load() -> None:
    """Imports what takes long, away from the loop."""
    import grpc.aio  # noqa: F401


def _interceptor(admit: Callable[[str, dict[bytes, bytes]], Awaitable[Call]]) -> Any:
    import grpc
    import grpc.aio
    from a2a.server.request_handlers.grpc_handler import GrpcHandler
    from a2a.utils.errors import A2AError

    plain: Any = GrpcHandler(None)  # type: ignore[arg-type]  # it only words errors here
    codes = {
        Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
        Forbidden: grpc.StatusCode.PERMISSION_DENIED,
        RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }

    class Door(grpc.aio.ServerInterceptor):
        @override
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            try:
                _call.set(await admit(details.method, _metadata_of(details.invocation_metadata)))
            except A2AError as error:
                return _refusing(partial(plain.abort_context, error))
            except NgxError as error:
                code = next((codes[kind] for kind in type(error).__mro__ if kind in codes), grpc.StatusCode.UNAVAILABLE)
                return _refusing(partial(_abort, code, str(error)))
            return await continuation(details)

    def _refusing(abort: Callable[[Any], Awaitable[None]]) -> Any:
        async def refuse(request: Any, context: Any) -> None:
            await abort(context)

        return grpc.unary_unary_rpc_method_handler(refuse)

    return Door()


async def _abort(code: Any, text: str, context: Any) -> None:
    await context.abort(code, text)


def _metadata_of(metadata: Any) -> dict[bytes, bytes]:
    return {
        key.encode(): value.encode("latin-1", "replace") if isinstance(value, str) else value
        for key, value in metadata or ()
    }


def _contexts() -> Any:
    from a2a.server.request_handlers.grpc_handler import GrpcServerCallContextBuilder

    class Contexts(GrpcServerCallContextBuilder):
        @override
        def build(self, context: Any) -> Any:
            return _call.get().context()

    return Contexts()


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
