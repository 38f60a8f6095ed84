from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.vertex.conftest import Emulator, ask
from tests.vertex.wire_server import refused_origin

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, ModelAuthError, ModelUnavailable
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.credentials import (
    REFRESH_AHEAD_S,
    GoogleCredentials,
    credentials_for,
    has_credentials,
    settings_from_environment,
)
from ngx_agents.vertex.settings import VertexSettings


class MovedClock(SystemClock):
    """The system's clock, moved ahead by `ahead_s` where people look."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_s(self) -> float:  # type: ignore[override]
        return time.time() + self.ahead_s


@pytest.fixture(scope="session")
def private_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


@pytest.fixture
def service_account(tmp_path: Path, private_key: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a service account's file for a token server and points Google's library to it."""

    def write(token_url: str) -> None:
        account = {
            "type": "service_account",
            "project_id": "from-the-file",
            "private_key_id": "1",
            "private_key": private_key,
            "client_email": "robot@example.iam.gserviceaccount.com",
            "client_id": "1",
            "token_uri": f"{token_url}/token",
        }
        path = tmp_path / "account.json"
        path.write_text(json.dumps(account))
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))

    return write


def deadline_s() -> float:
    return time.monotonic() + 5


async def test_calls_carry_a_token_and_the_project_of_the_credentials(
    guarded_emulator: Emulator, service_account: Any
) -> None:
    service_account(guarded_emulator.base_url)
    settings = VertexSettings(base_url=guarded_emulator.base_url, use_google_credentials=True)
    async with VertexAIClient(settings=settings) as client:
        assert (await client.generate(ask())).text
    state = guarded_emulator.state
    assert state["last_headers"]["authorization"] == "Bearer emulated-token-1"
    assert "/projects/from-the-file/" in state["last_path"]


async def test_revoked_token_is_dropped_and_the_call_repeated_once(
    guarded_emulator: Emulator, service_account: Any
) -> None:
    service_account(guarded_emulator.base_url)
    settings = VertexSettings(base_url=guarded_emulator.base_url, use_google_credentials=True)
    async with VertexAIClient(settings=settings) as client:
        await client.generate(ask())
        guarded_emulator.revoke_tokens()
        assert (await client.generate(ask())).text
        guarded_emulator.revoke_tokens()
        assert [event async for event in client.stream(ask())]
        assert (guarded_emulator.state["calls"], guarded_emulator.state["tokens_issued"]) == (5, 3)
        guarded_emulator.script({"kind": "status", "status": 401, "times": 2})
        with pytest.raises(ModelAuthError):
            await client.generate(ask())
        assert guarded_emulator.state["calls"] == 7


async def test_many_calls_share_one_refresh(guarded_emulator: Emulator, service_account: Any) -> None:
    service_account(guarded_emulator.base_url)
    credentials = GoogleCredentials(SystemClock())
    async with asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(credentials.headers(deadline_s()))
    assert guarded_emulator.state["tokens_issued"] == 1


async def test_token_is_refreshed_ahead_of_its_end_without_waiting(
    guarded_emulator: Emulator, service_account: Any
) -> None:
    service_account(guarded_emulator.base_url)
    clock = MovedClock()
    credentials = GoogleCredentials(clock)
    first = await credentials.headers(deadline_s())
    assert credentials.ready() is first
    clock.ahead_s = 3600 - REFRESH_AHEAD_S + 10
    assert credentials.ready() is first
    async with asyncio.timeout(2):
        while credentials.ready() is first:  # noqa: ASYNC110  # the refresh is seen from outside
            await asyncio.sleep(0.005)
    assert guarded_emulator.state["tokens_issued"] == 2


async def test_expired_token_is_not_used(guarded_emulator: Emulator, service_account: Any) -> None:
    service_account(guarded_emulator.base_url)
    clock = MovedClock()
    credentials = GoogleCredentials(clock)
    first = await credentials.headers(deadline_s())
    clock.ahead_s = 3600
    assert credentials.ready() is None
    assert (await credentials.headers(deadline_s())) != first


async def test_token_server_that_is_gone_is_unavailable(service_account: Any) -> None:
    service_account(refused_origin())
    with pytest.raises(ModelUnavailable):
        await GoogleCredentials(SystemClock()).headers(deadline_s())


async def test_missing_credentials_are_an_auth_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(ModelAuthError):
        await GoogleCredentials(SystemClock()).headers(deadline_s())
    assert not await has_credentials(VertexSettings())


async def test_credentials_are_found_without_a_call(service_account: Any) -> None:
    service_account(refused_origin())
    assert await has_credentials(VertexSettings())
    assert await has_credentials(VertexSettings(api_key="k"))
    assert await has_credentials(VertexSettings(base_url="http://127.0.0.1:1"))
    assert not await has_credentials(VertexSettings(provider="openai"))


def test_keys_go_where_each_provider_looks() -> None:
    def headers(**fields: Any) -> dict[str, str]:
        ready = credentials_for(VertexSettings(**fields), SystemClock()).ready()
        assert ready is not None
        return dict(ready)

    plain = {"content-type": "application/json"}
    assert headers(api_key="k") == {**plain, "x-goog-api-key": "k"}
    assert headers(base_url="http://127.0.0.1:1") == plain
    assert headers(provider="openai", api_key="k") == {**plain, "authorization": "Bearer k"}
    assert headers(provider="openai") == plain


def test_environment_gives_settings_ours_before_googles() -> None:
    settings = settings_from_environment(
        {
            "NGX_VERTEX_PROJECT": "ours",
            "GOOGLE_CLOUD_PROJECT": "googles",
            "GOOGLE_CLOUD_LOCATION": "eu",
            "NGX_MODEL": "m",
            "NGX_VERTEX_API_KEY": "",
        }
    )
    assert (settings.project, settings.location, settings.model, settings.api_key) == ("ours", "eu", "m", None)
    assert settings_from_environment({}) == VertexSettings()


def test_environment_that_cannot_be_used_is_a_config_error() -> None:
    with pytest.raises(ConfigError):
        settings_from_environment({"NGX_VERTEX_TRANSPORT": "pigeon"})


def test_settings_do_not_show_their_key() -> None:
    assert "secret-key" not in repr(VertexSettings(api_key="secret-key"))
