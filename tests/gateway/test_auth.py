"""Who is let in: tokens, keys, and what is remembered of them."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from ngx_agents.errors import ConfigError, Forbidden, Unauthenticated
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.principal import LOCAL
from ngx_agents.gateway.settings import AuthSettings
from ngx_agents.state.commands import ApiKey, PutKey, RevokeKey
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal

SECRET = "0123456789abcdef0123456789abcdef"
NOW_S = 1_800_000_000.0


class _Clock:
    def __init__(self) -> None:
        self.passed_s = 0.0

    def monotonic_s(self) -> float:
        return 50.0 + self.passed_s

    def now_s(self) -> float:
        return NOW_S + self.passed_s

    async def sleep(self, delay_s: float) -> None:
        self.passed_s += delay_s


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    journal = SqliteJournal(tmp_path / "journal.db")
    await journal.open()
    await journal.migrate()
    yield journal
    await journal.close()


@pytest.fixture
def clock() -> _Clock:
    return _Clock()


@pytest.mark.parametrize("host", [b"localhost:8000", b"127.0.0.1", b"[::1]:8000", b"LocalHost"])
async def test_without_authentication_loopback_names_are_served(
    host: bytes, journal: SqliteJournal, clock: _Clock
) -> None:
    assert await Authenticator(AuthSettings(), journal=journal, clock=clock).principal({b"host": host}) is LOCAL


@pytest.mark.parametrize("host", [b"evil.test", b"localhost.evil.test", b"127.0.0.1.evil.test:80", b"", b"10.0.0.7"])
async def test_without_authentication_another_name_for_this_machine_is_refused(
    host: bytes, journal: SqliteJournal, clock: _Clock
) -> None:
    with pytest.raises(Forbidden):
        await Authenticator(AuthSettings(), journal=journal, clock=clock).principal({b"host": host})


def _token(claims: dict[str, Any] | None = None, *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    return jwt.encode({"sub": "ana", "exp": NOW_S + 60, **(claims or {})}, secret, algorithm=algorithm)


def _bearer(token: str) -> dict[bytes, bytes]:
    return {b"authorization": b"Bearer " + token.encode()}


def _jwt_auth(journal: SqliteJournal, clock: _Clock, **more: Any) -> Authenticator:
    return Authenticator(AuthSettings(mode="jwt", jwt_secret=SECRET, **more), journal=journal, clock=clock)


async def test_without_authentication_everybody_is_the_local_operator(journal: SqliteJournal, clock: _Clock) -> None:
    auth = Authenticator(AuthSettings(), journal=journal, clock=clock)
    assert await auth.principal({b"authorization": b"Bearer whatever"}) is LOCAL


async def test_a_token_says_who_its_bearer_is(journal: SqliteJournal, clock: _Clock) -> None:
    auth = _jwt_auth(journal, clock)
    principal = await auth.principal(_bearer(_token({"tenant": "acme", "roles": ["operator"]})))
    assert (principal.owner, principal.is_operator) == (Owner("acme", "ana"), True)


async def test_only_what_the_server_wrote_about_a_user_is_believed(journal: SqliteJournal, clock: _Clock) -> None:
    auth = _jwt_auth(journal, clock)
    claims = {
        "app_metadata": {"tenant": "acme"},
        "user_metadata": {"tenant": "other", "roles": ["operator"]},
        "role": "operator",
    }
    principal = await auth.principal(_bearer(_token(claims)))
    assert (principal.owner, principal.roles) == (Owner("acme", "ana"), frozenset())


async def test_a_token_without_tenant_belongs_to_the_default_one(journal: SqliteJournal, clock: _Clock) -> None:
    assert (await _jwt_auth(journal, clock).principal(_bearer(_token()))).owner == Owner("default", "ana")


def _unsigned() -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'none'})}.{part({'sub': 'ana', 'exp': NOW_S + 60})}."


def _nested() -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256"}').rstrip(b"=").decode()
    deep = base64.urlsafe_b64encode(b"[" * 5000).rstrip(b"=").decode()
    return f"{deep}.{header}.x"


BAD_TOKENS = {
    "expired": _token({"exp": NOW_S - 31}),
    "not valid yet": _token({"nbf": NOW_S + 31}),
    "wrong secret": _token(secret="f" * 32),
    "wrong algorithm": _token(algorithm="HS512", secret=SECRET * 2),
    "alg none": _unsigned(),
    "no expiry": jwt.encode({"sub": "ana"}, SECRET),
    "no subject": jwt.encode({"exp": NOW_S + 60}, SECRET),
    "empty subject": _token({"sub": ""}),
    "endless subject": _token({"sub": "a" * 201}),
    "control characters": _token({"sub": "a\0b"}),
    "tenant of a wrong type": _token({"tenant": 7}),
    "expiry that is no time": _token({"exp": True}),
    "oversized": "a" * 8193,
    "deeply nested": _nested(),
    "garbage": "abc",
    "three dots": "..",
    "not ascii": "é.é.é",
    "empty": "",
    "unknown key": "ngx_" + "A" * 43,
}


@pytest.mark.parametrize("name", BAD_TOKENS)
async def test_a_bad_token_is_refused(name: str, journal: SqliteJournal, clock: _Clock) -> None:
    with pytest.raises(Unauthenticated):
        await _jwt_auth(journal, clock).principal(_bearer(BAD_TOKENS[name]))


@pytest.mark.parametrize("headers", [{}, {b"authorization": b"Basic YTpi"}, {b"authorization": b"Bearer"}])
async def test_missing_credentials_are_refused(
    headers: dict[bytes, bytes], journal: SqliteJournal, clock: _Clock
) -> None:
    with pytest.raises(Unauthenticated):
        await _jwt_auth(journal, clock).principal(headers)


async def test_clocks_may_differ_by_the_leeway(journal: SqliteJournal, clock: _Clock) -> None:
    auth = _jwt_auth(journal, clock)
    assert (await auth.principal(_bearer(_token({"exp": NOW_S - 29})))).owner.user == "ana"


async def test_audience_and_issuer_are_checked_when_configured(journal: SqliteJournal, clock: _Clock) -> None:
    auth = _jwt_auth(journal, clock, audience="authenticated", issuer="https://id.test")
    good = {"aud": "authenticated", "iss": "https://id.test"}
    assert (await auth.principal(_bearer(_token(good)))).owner.user == "ana"
    for claims in ({**good, "aud": "other"}, {**good, "iss": "https://evil.test"}, {"iss": "https://id.test"}):
        with pytest.raises(Unauthenticated):
            await auth.principal(_bearer(_token(claims)))


async def test_a_verified_token_is_remembered_until_it_expires_and_not_longer(
    journal: SqliteJournal, clock: _Clock
) -> None:
    auth = _jwt_auth(journal, clock)
    headers = _bearer(_token())
    first = await auth.principal(headers)
    assert await auth.principal(headers) is first
    clock.passed_s = 91
    with pytest.raises(Unauthenticated):
        await auth.principal(headers)


async def _stored_key(journal: SqliteJournal, *roles: str) -> str:
    secret, digest = new_api_key()
    key = ApiKey(id="k_1", digest=digest, owner=Owner("acme", "bot"), roles=roles, created_at=NOW_S)
    assert await journal.transact([PutKey(key=key)]) == [None]
    return secret


@pytest.mark.parametrize("mode", ["jwt", "api_key"])
async def test_an_api_key_is_its_owner_in_either_header(mode: Any, journal: SqliteJournal, clock: _Clock) -> None:
    secret = await _stored_key(journal, "operator")
    auth = Authenticator(AuthSettings(mode=mode, jwt_secret=SECRET), journal=journal, clock=clock)
    for headers in (_bearer(secret), {b"x-api-key": secret.encode()}):
        principal = await auth.principal(headers)
        assert (principal.owner, principal.is_operator) == (Owner("acme", "bot"), True)


async def test_a_token_is_refused_where_only_keys_are_accepted(journal: SqliteJournal, clock: _Clock) -> None:
    auth = Authenticator(AuthSettings(mode="api_key"), journal=journal, clock=clock)
    with pytest.raises(Unauthenticated):
        await auth.principal(_bearer(_token()))


async def test_a_revoked_key_is_refused_after_ten_seconds(journal: SqliteJournal, clock: _Clock) -> None:
    secret = await _stored_key(journal)
    auth = Authenticator(AuthSettings(mode="api_key"), journal=journal, clock=clock)
    await auth.principal(_bearer(secret))
    assert await journal.transact([RevokeKey(digest=hashlib.sha256(secret.encode()).digest(), now=NOW_S)]) == [True]
    clock.passed_s = 10
    with pytest.raises(Unauthenticated):
        await auth.principal(_bearer(secret))


async def test_a_key_made_after_it_was_refused_works_when_the_refusal_is_forgotten(
    journal: SqliteJournal, clock: _Clock
) -> None:
    secret, digest = new_api_key()
    auth = Authenticator(AuthSettings(mode="api_key"), journal=journal, clock=clock)
    with pytest.raises(Unauthenticated):
        await auth.principal(_bearer(secret))
    key = ApiKey(id="k_1", digest=digest, owner=Owner("acme", "bot"), roles=(), created_at=NOW_S)
    assert await journal.transact([PutKey(key=key)]) == [None]
    with pytest.raises(Unauthenticated):
        await auth.principal(_bearer(secret))
    clock.passed_s = 10
    assert (await auth.principal(_bearer(secret))).owner.user == "bot"


@pytest.mark.parametrize(
    "settings", [AuthSettings(mode="jwt"), AuthSettings(mode="jwt", jwt_secret="short")], ids=["nothing", "short"]
)
async def test_settings_that_cannot_protect_are_refused(
    settings: AuthSettings, journal: SqliteJournal, clock: _Clock
) -> None:
    with pytest.raises(ConfigError):
        Authenticator(settings, journal=journal, clock=clock)
