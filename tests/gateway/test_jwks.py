"""Tokens signed with a provider's keys, over a real key server on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from ngx_agents.errors import Unauthenticated, Unavailable
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.jwks import MAX_AGE_S, MIN_REFRESH_S
from ngx_agents.gateway.jwt_tokens import JwtVerifier
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal

NOW_S = 1_800_000_000.0
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())


class _Clock:
    passed_s = 0.0

    def monotonic_s(self) -> float:
        return self.passed_s

    def now_s(self) -> float:
        return NOW_S

    async def sleep(self, delay_s: float) -> None:
        self.passed_s += delay_s


class _KeyServer:
    def __init__(self) -> None:
        self.keys: list[dict[str, Any]] = [
            {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "r1"},
            {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "e1"},
            {"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlYw", "kid": "s1"},
            {"kty": "strange", "kid": "x1"},
        ]
        self.asked = 0
        self.is_down = False
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[_KeyServer]:
        app = web.Application()
        app.router.add_get("/jwks", self._answer)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=500) if self.is_down else web.json_response({"keys": self.keys})


@pytest.fixture
async def server() -> AsyncIterator[_KeyServer]:
    async with _KeyServer().running() as server:
        yield server


def _token(key: Any, algorithm: str, key_id: str | None) -> str:
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode({"sub": "ana", "exp": NOW_S + 60}, key, algorithm=algorithm, headers=headers)


def _verifier(server: _KeyServer, clock: _Clock) -> JwtVerifier:
    return JwtVerifier(AuthSettings(mode="jwt", jwks_url=server.url), clock)


async def test_rsa_and_elliptic_keys_verify_with_one_fetch(server: _KeyServer) -> None:
    verifier = _verifier(server, _Clock())
    for token in (_token(RSA_KEY, "RS256", "r1"), _token(EC_KEY, "ES256", "e1")):
        principal, expires_at, *_ = await verifier.verify(token)
        assert (principal.owner, expires_at) == (Owner("default", "ana"), NOW_S + 60)
    assert server.asked == 1


async def test_a_public_key_never_serves_as_a_shared_secret(server: _KeyServer) -> None:
    secret = "secret-secret-secret-secret-sec"
    for key_id in ("r1", "s1"):
        with pytest.raises(Unauthenticated):
            await _verifier(server, _Clock()).verify(_token(secret + "x", "HS256", key_id))


async def test_a_key_signs_with_its_own_algorithm_only(server: _KeyServer) -> None:
    with pytest.raises(Unauthenticated):
        await _verifier(server, _Clock()).verify(_token(RSA_KEY, "RS256", "e1"))


async def test_invented_key_ids_ask_the_provider_seldom(server: _KeyServer) -> None:
    clock = _Clock()
    verifier = _verifier(server, clock)
    for number in range(20):
        with pytest.raises(Unauthenticated):
            await verifier.verify(_token(RSA_KEY, "RS256", f"invented-{number}"))
    assert server.asked == 1
    clock.passed_s = MIN_REFRESH_S
    with pytest.raises(Unauthenticated):
        await verifier.verify(_token(RSA_KEY, "RS256", "invented"))
    assert server.asked == 2


async def test_a_new_key_is_found_and_a_withdrawn_one_is_forgotten(server: _KeyServer) -> None:
    clock = _Clock()
    verifier = _verifier(server, clock)
    old = _token(EC_KEY, "ES256", "e1")
    await verifier.verify(old)
    del server.keys[1]
    clock.passed_s = MAX_AGE_S
    with pytest.raises(Unauthenticated):
        await verifier.verify(old)
    assert (await verifier.verify(_token(RSA_KEY, "RS256", "r1")))[0].owner.user == "ana"


async def test_keys_once_fetched_serve_while_the_provider_is_away(server: _KeyServer) -> None:
    clock = _Clock()
    verifier = _verifier(server, clock)
    token = _token(RSA_KEY, "RS256", "r1")
    await verifier.verify(token)
    server.is_down = True
    clock.passed_s = MAX_AGE_S
    assert (await verifier.verify(token))[0].owner.user == "ana"


async def test_without_any_key_the_answer_is_later_not_never(server: _KeyServer) -> None:
    server.is_down = True
    with pytest.raises(Unavailable) as refused:
        await _verifier(server, _Clock()).verify(_token(RSA_KEY, "RS256", "r1"))
    assert refused.value.retry_after_s == MIN_REFRESH_S


async def test_what_a_withdrawn_key_signed_is_believed_no_longer_than_the_withdrawal_is_unknown(
    server: _KeyServer, tmp_path: Path
) -> None:
    clock, journal = _Clock(), SqliteJournal(tmp_path / "journal.db")
    auth = Authenticator(AuthSettings(mode="jwt", jwks_url=server.url), journal, clock)
    old, other = _token(EC_KEY, "ES256", "e1"), _token(RSA_KEY, "RS256", "r1")
    first = await auth.principal(_bearer(old))
    del server.keys[1]
    clock.passed_s = MIN_REFRESH_S
    assert await auth.principal(_bearer(old)) is first
    clock.passed_s = MAX_AGE_S
    await auth.principal(_bearer(other))
    with pytest.raises(Unauthenticated):
        await auth.principal(_bearer(old))


def _bearer(token: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + token.encode()}
