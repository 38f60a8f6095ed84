"""Verifies JSON Web Tokens: HS256 with the shared secret, RS256 and ES256 with keys of a JWKS.

The algorithm chooses the kind of key, and each kind verifies with its own algorithms only, so a public key can
never serve as a shared secret. Times are checked here, against the injected clock. Source: RFC 7519, RFC 8725.
"""

from __future__ import annotations

import math
from typing import Any

from jwt import PyJWT
from jwt.api_jwk import PyJWK
from jwt.api_jws import PyJWS
from jwt.exceptions import PyJWTError

from ngx_agents.clock import Clock
from ngx_agents.errors import Unauthenticated
from ngx_agents.gateway.identity import principal_named
from ngx_agents.gateway.jwks import ALGORITHMS, Jwks
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings

# what a token from outside can make the parser raise; RecursionError from JSON nested a thousand deep
_UNREADABLE = (PyJWTError, ValueError, RecursionError)


class JwtVerifier:
    """`jwks` is None when no URL is configured."""

    def __init__(self, settings: AuthSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._jwks = Jwks(settings.jwks_url, clock) if settings.jwks_url else None
        self._jws = PyJWS()
        self._jwt = PyJWT(
            {
                "enforce_minimum_key_length": True,
                "require": ["exp", "sub"],
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
                "verify_aud": settings.audience is not None,
                "verify_iss": settings.issuer is not None,
            }
        )

    @property
    def withdrawals(self) -> int:
        """How often the provider took a key back since the start."""
        return 0 if self._jwks is None else self._jwks.withdrawals

    async def verify(self, token: str) -> tuple[Principal, float]:
        """The bearer and when the token expires (Unix seconds). Raises Unauthenticated, Unavailable."""
        key, algorithms = await self._key_for(token)
        try:
            claims = self._jwt.decode(
                token,
                key,
                algorithms=algorithms,
                audience=self._settings.audience,
                issuer=self._settings.issuer,
            )
        except _UNREADABLE as error:
            raise Unauthenticated("the token does not verify") from error
        expires_at = self._check_times(claims)
        return _principal(claims), expires_at

    async def _key_for(self, token: str) -> tuple[str | PyJWK, list[str]]:
        try:
            header = self._jws.get_unverified_header(token)
        except _UNREADABLE as error:
            raise Unauthenticated("the token cannot be read") from error
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._settings.jwt_secret:
            return self._settings.jwt_secret, ["HS256"]
        if algorithm in ALGORITHMS and self._jwks is not None:
            key = await self._jwks.key(header.get("kid"))
            if key is not None:
                return key, [key.algorithm_name]
        raise Unauthenticated("the token is not signed with a key and algorithm accepted here")

    def _check_times(self, claims: dict[str, Any]) -> float:
        now_s = self._clock.now_s()
        expires_at = _seconds(claims["exp"])
        if now_s >= expires_at + self._settings.leeway_s:
            raise Unauthenticated("the token has expired")
        if _seconds(claims.get("nbf", 0)) > now_s + self._settings.leeway_s:
            raise Unauthenticated("the token is not valid yet")
        return expires_at


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise Unauthenticated("the token's times are not numbers")
    return min(float(value), 1e12) if value < 1e300 else 1e12


def _principal(claims: dict[str, Any]) -> Principal:
    """`app_metadata` is what Supabase lets only the server write; `user_metadata` is never believed."""
    trusted = claims.get("app_metadata")
    if not isinstance(trusted, dict):
        trusted = {}
    tenant = claims.get("tenant", trusted.get("tenant", "default"))
    return principal_named(tenant, claims["sub"], roles=claims.get("roles", trusted.get("roles", ())))
