"""Authentication: from the headers of a request to the principal it acts for.

What was verified is remembered, keyed by the token's SHA-256: a JWT until it expires (at most
`token_memory_s`); API keys have their own ring (`key_ring.py`). The memory is bounded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ngx_agents.clock import Clock
from ngx_agents.errors import Forbidden, Unauthenticated
from ngx_agents.gateway.api_keys import PREFIX
from ngx_agents.gateway.cross_origin import CrossOrigin
from ngx_agents.gateway.jwt_tokens import JwtVerifier
from ngx_agents.gateway.key_ring import KeyRing
from ngx_agents.gateway.memo import Memo
from ngx_agents.gateway.principal import LOCAL, Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.journal import Journal
from ngx_agents.state.key_uses import KeyUses

_KEY_PREFIX = PREFIX.encode()
_LOOPBACK = re.compile(rb"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)


class Authenticator:
    """Raises ConfigError from its constructor when the settings cannot work."""

    def __init__(
        self,
        settings: AuthSettings,
        journal: Journal,
        clock: Clock,
        *,
        pages: CrossOrigin | None = None,
        uses: KeyUses | None = None,
    ) -> None:
        settings.check()
        self._settings = settings
        self._pages = pages
        self._clock = clock
        self._jwt = JwtVerifier(settings, clock) if settings.mode == "jwt" else None
        self._withdrawals_seen = 0
        self._tokens: Memo[Principal] = Memo(settings.remembered_tokens, clock.now_s)
        self._keys = KeyRing(settings, journal, clock, uses=uses)

    async def principal(self, headers: Mapping[bytes, bytes], address: str = "") -> Principal:
        """`address` is the caller's, to bound its guesses.

        Raises Unauthenticated, Forbidden, RateLimited; Unavailable when journal or identity provider cannot be asked.
        """
        if self._settings.mode == "none":
            return _local(headers, self._pages)
        token = _token(headers)
        if len(token) > self._settings.max_token_bytes:
            raise Unauthenticated("the token is too long")
        digest = hashlib.sha256(token).digest()
        if token.startswith(_KEY_PREFIX):
            return await self._keys.principal(digest, address)
        return self._tokens.get(digest) or await self._by_jwt(token, digest)

    async def _by_jwt(self, token: bytes, digest: bytes) -> Principal:
        if self._jwt is None or not token.isascii():
            raise Unauthenticated("these credentials are not accepted here")
        try:
            principal, expires_at = await self._jwt.verify(token.decode("ascii"))
        finally:
            self._forget_withdrawn(self._jwt)
        self._tokens.put(digest, principal, min(expires_at, self._clock.now_s() + self._settings.token_memory_s))
        return principal

    def _forget_withdrawn(self, verifier: JwtVerifier) -> None:
        """What one of the withdrawn keys signed counts no longer: all of it is verified anew."""
        if verifier.withdrawals != self._withdrawals_seen:
            self._withdrawals_seen = verifier.withdrawals
            self._tokens.clear()


def _local(headers: Mapping[bytes, bytes], pages: CrossOrigin | None) -> Principal:
    """A page elsewhere can point a name of its own at this machine (DNS rebinding): then `Host` is that name. It can
    also send here without being let see the answer: then `Origin` is that page's."""
    host = headers.get(b"host")
    if host is not None and not _LOOPBACK.fullmatch(host):
        raise Forbidden("without authentication only loopback addresses are served")
    origin = headers.get(b"origin")
    if origin is not None and not _is_local(origin) and not (pages is not None and pages.allows(origin)):
        raise Forbidden("without authentication only pages of this machine may call")
    return LOCAL


def _is_local(origin: bytes) -> bool:
    _, separator, host = origin.partition(b"://")
    return bool(separator) and _LOOPBACK.fullmatch(host) is not None


def _token(headers: Mapping[bytes, bytes]) -> bytes:
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer" and token.strip():
            return token.strip()
        raise Unauthenticated("the Authorization header must be `Bearer` and a token")
    key = headers.get(b"x-api-key")
    if key:
        return key
    raise Unauthenticated("credentials are missing")
