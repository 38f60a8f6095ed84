"""Proof that a request comes from another instance of the same house: an HMAC with the key that all of them have.

It covers method, path, whose turn it is, and the time; it holds for `WINDOW_S`. What can be asked is harmless when
repeated within that time (to listen, to stop). Several keys may be known while one is being changed; the first signs.
Source: RFC 2104.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from urllib.parse import quote, unquote

from ngx_agents.clock import Clock
from ngx_agents.errors import Unauthenticated
from ngx_agents.state.model import Owner

OWNER, SIGNED = "x-ngx-owner", "x-ngx-signature"
WINDOW_S = 30.0
CONTEXT = b"ngx peer request 1"


class PeerSignature:
    """Signs and verifies. `keys` are secrets of at least 32 bytes."""

    def __init__(self, keys: Sequence[bytes], clock: Clock) -> None:
        self._keys = [hmac.digest(key, CONTEXT, hashlib.sha256) for key in keys]
        self._clock = clock

    def headers(self, method: str, path: str, owner: Owner) -> dict[str, str]:
        named = f"{quote(owner.tenant, safe='')}/{quote(owner.user, safe='')}"
        at = f"{self._clock.now_s():.3f}"
        return {OWNER: named, SIGNED: f"{at}.{self._sign(self._keys[0], method, path, named, at)}"}

    def owner_of(self, method: str, path: str, headers: Mapping[bytes, bytes]) -> Owner:
        """Whose turn a verified request is about. Raises Unauthenticated."""
        named = headers.get(OWNER.encode(), b"").decode("latin-1")
        at, _, signature = headers.get(SIGNED.encode(), b"").decode("latin-1").rpartition(".")
        if not self._is_recent(at) or not self._is_signed(method, path, named, at, signature):
            raise Unauthenticated("this request is not signed by an instance of this server")
        tenant, separator, user = named.partition("/")
        if not separator:
            raise Unauthenticated("this request does not say whose turn it is about")
        return Owner(unquote(tenant), unquote(user))

    def _is_recent(self, at: str) -> bool:
        try:
            return abs(float(at) - self._clock.now_s()) <= WINDOW_S
        except ValueError:
            return False

    def _is_signed(self, method: str, path: str, named: str, at: str, signature: str) -> bool:
        given = signature.encode()
        return any(hmac.compare_digest(self._sign(key, method, path, named, at).encode(), given) for key in self._keys)

    def _sign(self, key: bytes, method: str, path: str, named: str, at: str) -> str:
        return hmac.new(key, "\n".join((method, path, named, at)).encode(), hashlib.sha256).hexdigest()
