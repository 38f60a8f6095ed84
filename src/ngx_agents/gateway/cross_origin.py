"""Which pages of other origins may call from a browser: none, unless configured. Source: Fetch standard, CORS protocol.

Callers prove who they are with a header, never with a cookie: credentials are therefore never allowed, and a page can
only do what its own token lets it do.
"""

from __future__ import annotations

from collections.abc import Sequence

from ngx_agents.gateway.exchange import Exchange, Header

ANY = "*"
PREFLIGHT: tuple[Header, ...] = (
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, DELETE, PATCH"),
    (
        b"access-control-allow-headers",
        b"Authorization, X-API-Key, Content-Type, Accept, Idempotency-Key, Last-Event-ID, Prefer, X-Request-Id",
    ),
    (b"access-control-max-age", b"600"),
)
EXPOSED: Header = (
    b"access-control-expose-headers",
    b"Location, Retry-After, X-Request-Id, NGX-Mode, RateLimit, RateLimit-Policy, ETag",
)
VARY: Header = (b"vary", b"origin")


class CrossOrigin:
    """`origins` are such as `https://app.example`, or `*` alone."""

    def __init__(self, origins: Sequence[str]) -> None:
        self._is_any = ANY in origins
        self._origins = frozenset(origin.encode() for origin in origins)

    def allows(self, origin: bytes) -> bool:
        return self._is_any or origin in self._origins

    async def answered(self, exchange: Exchange) -> bool:
        """Marks the answer for the caller's origin; True when the request was the browser asking ahead."""
        origin = exchange.headers.get(b"origin")
        if origin is None:
            return False
        is_allowed = self.allows(origin)
        if is_allowed:
            allowed = b"*" if self._is_any else origin
            exchange.announced = (*exchange.announced, VARY, EXPOSED, (b"access-control-allow-origin", allowed))
        if exchange.scope["method"] != "OPTIONS" or b"access-control-request-method" not in exchange.headers:
            return False
        exchange.route = "preflight"
        await exchange.reply(204, b"", PREFLIGHT if is_allowed else ())
        return True
