"""The public keys of an identity provider, fetched when first needed and refreshed seldom.

One fetch at a time. A key id that is not known asks again, at most once every `MIN_REFRESH_S`, so that invented
key ids cannot turn this server against the provider. Keys once fetched stay usable while the provider is away.
Source: RFC 7517.
"""

from __future__ import annotations

import asyncio

import msgspec
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from ngx_agents.clock import Clock
from ngx_agents.errors import Unavailable
from ngx_agents.telemetry.log import event_log

MIN_REFRESH_S = 10.0
MAX_AGE_S = 600.0
TIMEOUT_S = 5.0
MAX_BYTES = 262_144
ALGORITHMS = ("RS256", "ES256")
log = event_log("gateway")


class _KeySet(msgspec.Struct):
    keys: list[dict[str, object]]


class Jwks:
    """Keys by id, for RS256 and ES256 only."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: dict[str, PyJWK] = {}
        self._tried_at_s: float | None = None
        self._fetched_at_s: float | None = None
        self.withdrawals = 0

    async def key(self, key_id: str | None) -> PyJWK | None:
        """The key of that id; without an id, the only key. Raises Unavailable when none could be fetched."""
        found = self._find(key_id)
        if found is not None and not self._is_older_than(self._fetched_at_s, MAX_AGE_S):
            return found
        async with self._lock:
            if self._is_older_than(self._tried_at_s, MIN_REFRESH_S):
                self._tried_at_s = self._clock.monotonic_s()
                await self._refresh()
        if self._fetched_at_s is None:
            raise Unavailable("the keys of the identity provider cannot be fetched", retry_after_s=MIN_REFRESH_S)
        return self._find(key_id)

    def _find(self, key_id: str | None) -> PyJWK | None:
        if key_id is not None:
            return self._keys.get(key_id)
        return next(iter(self._keys.values())) if len(self._keys) == 1 else None

    def _is_older_than(self, at_s: float | None, age_s: float) -> bool:
        return at_s is None or self._clock.monotonic_s() - at_s >= age_s

    async def _refresh(self) -> None:
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                response.raise_for_status()
                body = await response.content.read(MAX_BYTES)
                while len(body) < MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                    body += more
            keys = _usable(msgspec.json.decode(body, type=_KeySet))
            if any(key_id not in keys or keys[key_id].key != key.key for key_id, key in self._keys.items()):
                self.withdrawals += 1
            self._keys = keys
            self._fetched_at_s = self._clock.monotonic_s()
        except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("gateway.jwks_failed", error=type(error).__name__)


def _usable(found: _KeySet) -> dict[str, PyJWK]:
    keys: dict[str, PyJWK] = {}
    for entry in found.keys:
        try:
            key = PyJWK(entry)
        except PyJWTError:
            continue  # of a kind we do not verify with
        if key.algorithm_name in ALGORITHMS:
            keys[key.key_id or ""] = key
    return keys
