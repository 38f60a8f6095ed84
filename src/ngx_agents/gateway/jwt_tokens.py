"""Verifies JSON Web Tokens: HS256 with the shared secret, RS256 and ES256 with keys of a JWKS.

The algorithm chooses the kind of key, and each kind verifies with its own algorithms only, so a public key can
never serve as a shared secret. Times are checked here, against the injected clock. Source: RFC 7519, RFC 8725.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from jwt import PyJWT
from jwt.api_jwk import PyJWK
from jwt.api_jws import PyJWS
from jwt.exceptions import DecodeError, InvalidAlgorithmError, InvalidKeyError, PyJWTError

from ngx_agents.clock import Clock
from ngx_agents.errors import Unauthenticated
from ngx_agents.gateway.identity import principal_named
from ngx_agents.gateway.jwks import ALGORITHMS, Jwks
from ngx_agents.gateway.principal import Principal
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.revocations import token_name, user_name

# what no token raises that our provider signed; one of others' audience, say, raises something else
_GUESSED = (DecodeError, InvalidAlgorithmError, InvalidKeyError, ValueError, RecursionError)
# what a token from outside can make the parser raise; RecursionError from JSON nested a thousand deep
_UNREADABLE = (PyJWTError, ValueError, RecursionError)


class Verified(NamedTuple):
    """Whose the token is, and by what it can be taken back. Times are Unix seconds; `issued_at` is None where the token
    does not say it."""

    principal: Principal
    expires_at: float
    issued_at: float | None
    token: str | None
    user: str


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

    async def verify(self, token: str) -> Verified:
        """Raises Unauthenticated (a guess unless the signature is one of ours), Unavailable."""
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
            raise Unauthenticated("the token does not verify", is_guess=isinstance(error, _GUESSED)) from error
        expires_at, issued_at = self._check_times(claims)
        principal = _principal(claims)
        return Verified(principal, expires_at, issued_at, token_name(claims.get("jti")), user_name(principal.owner))

    async def _key_for(self, token: str) -> tuple[str | PyJWK, list[str]]:
        try:
            header = self._jws.get_unverified_header(token)
        except _UNREADABLE as error:
            raise Unauthenticated("the token cannot be read", is_guess=True) from error
        algorithm = header.get("alg")
        if algorithm == "HS256" and self._settings.jwt_secret:
            return self._settings.jwt_secret, ["HS256"]
        if algorithm in ALGORITHMS and self._jwks is not None:
            key = await self._jwks.key(header.get("kid"))
            if key is not None:
                return key, [key.algorithm_name]
        raise Unauthenticated("the token is not signed with a key and algorithm accepted here", is_guess=True)

    def _check_times(self, claims: dict[str, Any]) -> tuple[float, float | None]:
        """When it expires, at the latest `token_life_s` after it was issued, and when that was."""
        now_s = self._clock.now_s()
        expires_at = _seconds(claims["exp"])
        issued = claims.get("iat", claims.get("nbf"))
        issued_at = None if issued is None else _seconds(issued)
        if issued_at is not None:
            expires_at = min(expires_at, issued_at + self._settings.token_life_s)
        if now_s >= expires_at + self._settings.leeway_s:
            raise Unauthenticated("the token has expired")
        if _seconds(claims.get("nbf", 0)) > now_s + self._settings.leeway_s:
            raise Unauthenticated("the token is not valid yet")
        return expires_at, issued_at


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
