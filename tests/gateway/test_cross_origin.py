"""Pages of other origins: not served unless configured, and never with credentials of the browser's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.serving import client

SECRET = "0123456789abcdef0123456789abcdef"
AUTH = AuthSettings(mode="jwt", jwt_secret=SECRET)
APP, OTHER = "https://app.example", "https://other.example"
ASKING = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
ALLOWED = "access-control-allow-origin"


@pytest.mark.parametrize(
    ("origins", "origin", "allowed"),
    [
        ((), APP, None),
        ((APP,), APP, APP),
        ((APP,), OTHER, None),
        ((APP,), "null", None),
        (("*",), OTHER, "*"),
    ],
)
async def test_only_configured_pages_are_let_in(
    tmp_path: Path, origins: tuple[str, ...], origin: str, allowed: str | None
) -> None:
    async with client(tmp_path, GatewaySettings(auth=AUTH, cors_origins=origins)) as api:
        url = f"{api.url}/v1/conversations"
        async with api.session.options(url, headers={"Origin": origin, **ASKING}) as asked:
            assert asked.headers.get(ALLOWED) == allowed
            assert asked.status == (204 if origins else 405)
        async with api.session.get(url, headers={"Origin": origin}) as answer:
            assert answer.headers.get(ALLOWED) == allowed
            assert answer.status == 401
            assert ("origin" in answer.headers.get("vary", "")) == (allowed is not None)
        for each in (asked, answer):
            assert "access-control-allow-credentials" not in each.headers


async def test_a_preflight_names_what_the_api_takes(tmp_path: Path) -> None:
    async with (
        client(tmp_path, GatewaySettings(auth=AUTH, cors_origins=(APP,))) as api,
        api.session.options(f"{api.url}/v1/me/profile", headers={"Origin": APP, **ASKING}) as asked,
    ):
        assert "PUT" in asked.headers["access-control-allow-methods"]
        assert "Idempotency-Key" in asked.headers["access-control-allow-headers"]
        assert await asked.read() == b""


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 201), ("http://127.0.0.1:8000", 201), (OTHER, 403), ("null", 403), ("localhost", 403)],
)
async def test_without_authentication_pages_from_elsewhere_may_not_even_send(
    tmp_path: Path, origin: str, status: int
) -> None:
    async with client(tmp_path) as api:
        answered, _ = await api.call("POST", "/v1/conversations", json={}, headers={"Origin": origin})
    assert answered == status
