"""Authentication: from the headers of a request to the principal it acts for.

What was verified is remembered, keyed by the token's SHA-256: a JWT until it expires (at most `token_memory_s`) or is
taken back, which is looked up each time (two names in a table); API keys have their own ring (`key_ring.py`). The
memory is bounded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

from ngx_agents.clock import Clock
from ngx_agents.errors import Forbidden, RateLimited, Unauthenticated
from ngx_agents.gateway.api_keys import PREFIX
from ngx_agents.gateway.cross_origin import CrossOrigin
from ngx_agents.gateway.jwt_tokens import JwtVerifier, Verified
from ngx_agents.gateway.key_ring import KeyRing
from ngx_agents.gateway.memo import Memo
from ngx_agents.gateway.principal import LOCAL, Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.resilience.lockout import Lockout
from ngx_agents.state.journal import Journal
from ngx_agents.state.key_uses import KeyUses
from ngx_agents.state.revocations import Revocations

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
        revocations: Revocations | None = None,
    ) -> None:
        settings.check()
        self._settings = settings
        self._pages = pages
        self._clock = clock
        self._jwt = JwtVerifier(settings, clock) if settings.mode == "jwt" else None
        self._withdrawals_seen = 0
        self._tokens: Memo[Verified] = Memo(settings.remembered_tokens, clock.now_s)
        self._revocations = Revocations({}) if revocations is None else revocations
        self._lockout = Lockout(clock)
        self._keys = KeyRing(settings, journal, clock, uses=uses, lockout=self._lockout)

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
        verified = self._tokens.get(digest) or await self._by_jwt(token, digest, address)
        if self._revocations.are_about(verified.token, verified.user, verified.issued_at):
            self._tokens.drop(digest)
            raise Unauthenticated("the token was taken back: sign in again")
        return verified.principal

    async def _by_jwt(self, token: bytes, digest: bytes, address: str) -> Verified:
        """Verified whatever others at the address do: it is cheap, and no good token is refused for their guesses. Who
        guesses wrong there hears 429 instead of 401 once there were too many, of tokens and keys together."""
        if self._jwt is None:
            raise Unauthenticated("these credentials are not accepted here")
        try:
            verified = await self._jwt.verify(token.decode("latin-1"))
        except Unauthenticated as refused:
            if refused.is_guess:
                self._count_guess(address)
            raise
        finally:
            self._forget_withdrawn(self._jwt)
        until_s = min(verified.expires_at, self._clock.now_s() + self._settings.token_memory_s)
        self._tokens.put(digest, verified, until_s)
        return verified

    def _count_guess(self, address: str) -> None:
        """Raises RateLimited when there were too many already."""
        wait_s = self._lockout.wait_s(address)
        if wait_s > 0.0:
            raise RateLimited("too many wrong tokens or keys from this address", quota="keys", retry_after_s=wait_s)
        self._lockout.guessed(address)

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
