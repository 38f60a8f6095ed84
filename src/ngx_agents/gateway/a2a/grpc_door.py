"""What every gRPC call passes before its servicer: who calls, and from where. The SDK is loaded when it is made.

The caller's address is known only to the call itself, so what a method does is wrapped, not its lookup.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote

from typing_extensions import override

from ngx_agents.errors import Forbidden, NgxError, RateLimited, Unauthenticated

Admit = Callable[[str, dict[bytes, bytes], str], Awaitable[None]]
"""Is given method, metadata and the peer as gRPC words it."""


def interceptor(admit: Admit) -> Any:
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

    async def admitted(method: str, context: Any) -> None:
        """Aborts the call (which raises) for who is not let in."""
        try:
            await admit(method, _metadata_of(context.invocation_metadata()), context.peer())
        except A2AError as error:
            await plain.abort_context(error, context)
        except NgxError as error:
            code = next((codes[kind] for kind in type(error).__mro__ if kind in codes), grpc.StatusCode.UNAVAILABLE)
            await context.abort(code, str(error))

    class Door(grpc.aio.ServerInterceptor):
        @override
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)
            return None if handler is None else _wrapped(handler, details.method, admitted)

    return Door()


def _wrapped(handler: Any, method: str, admitted: Callable[[str, Any], Awaitable[None]]) -> Any:
    import grpc

    async def one(request: Any, context: Any) -> Any:
        await admitted(method, context)
        return await handler.unary_unary(request, context)

    async def several(request: Any, context: Any) -> AsyncIterator[Any]:
        await admitted(method, context)
        async with aclosing(handler.unary_stream(request, context)) as answers:
            async for answer in answers:
                yield answer

    if handler.request_streaming:  # the protocol has none: what is not wrapped is not served
        return None
    made: Any = (
        grpc.unary_stream_rpc_method_handler if handler.response_streaming else grpc.unary_unary_rpc_method_handler
    )
    return made(
        several if handler.response_streaming else one, handler.request_deserializer, handler.response_serializer
    )


def address_of(peer: str, forwarded: bytes, trusted: tuple[IPv4Network | IPv6Network, ...] = ()) -> str:
    """The caller's IP address out of `ipv4:1.2.3.4:5` or `ipv6:%5B::1%5D:5`; for a trusted proxy, who it says it is
    (the last of X-Forwarded-For that is no trusted proxy itself). What is neither stays as it is, without its port."""
    kind, _, place = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    address = place.rpartition(":")[0].strip("[]")
    for hop in reversed(forwarded.decode("latin-1").split(",")):
        if not _is_in(address, trusted):
            break
        address = hop.strip() or address
    return address


def _is_in(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        return any(ip_address(address) in network for network in networks)
    except ValueError:
        return False


def _metadata_of(metadata: Any) -> dict[bytes, bytes]:
    return {
        key.encode(): value.encode("latin-1", "replace") if isinstance(value, str) else value
        for key, value in metadata or ()
    }
