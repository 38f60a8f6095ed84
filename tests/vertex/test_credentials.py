from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError, ModelAuthError, ModelUnavailable
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.credentials import (
    MAX_REJECTIONS,
    REFRESH_AHEAD_S,
    GoogleCredentials,
    credentials_for,
    has_credentials,
    settings_from_environment,
)
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import Emulator, ask
from tests.vertex.service_accounts import write_account
from tests.vertex.wire_server import refused_origin


class MovedClock(SystemClock):
    """The system's clock, moved ahead by `ahead_s` where people look."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_s(self) -> float:  # type: ignore[override]
        return time.time() + self.ahead_s


@pytest.fixture
def service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a service account's file for a token server and points Google's library to it."""

    def write(token_url: str) -> None:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(write_account(tmp_path / "account.json", token_url)))

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


async def test_token_that_expires_under_way_is_renewed(guarded_emulator: Emulator, service_account: Any) -> None:
    service_account(guarded_emulator.base_url)
    settings = VertexSettings(base_url=guarded_emulator.base_url, use_google_credentials=True)
    async with VertexAIClient(settings=settings) as client:
        await client.generate(ask())
        guarded_emulator.order(advance_s=4000)  # for the server it has expired, for our clock it holds
        assert (await client.generate(ask())).text
        assert guarded_emulator.state["tokens_issued"] == 2


async def test_calls_refused_together_share_one_new_token(guarded_emulator: Emulator, service_account: Any) -> None:
    service_account(guarded_emulator.base_url)
    settings = VertexSettings(base_url=guarded_emulator.base_url, use_google_credentials=True)
    async with VertexAIClient(settings=settings) as client:
        await client.generate(ask())
        guarded_emulator.revoke_tokens()
        async with asyncio.TaskGroup() as group:
            replies = [group.create_task(client.generate(ask(f"question {number}"))) for number in range(20)]
        assert all(reply.result().text for reply in replies)
        assert guarded_emulator.state["tokens_issued"] == 2


async def test_who_comes_in_the_moment_a_refresh_ends_gets_its_token() -> None:
    credentials = GoogleCredentials(SystemClock())
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    credentials._refreshing, credentials._google = ended, SimpleNamespace(token="new", expiry=None)
    ended.add_done_callback(credentials._refreshed)
    ended.set_result(None)  # the callback has its turn after whoever runs now
    assert (await credentials.headers(deadline_s()))["authorization"] == "Bearer new"


async def test_credentials_refused_for_good_do_not_flood_the_token_server(
    guarded_emulator: Emulator, service_account: Any
) -> None:
    service_account(guarded_emulator.base_url)
    credentials = GoogleCredentials(SystemClock())
    for _ in range(MAX_REJECTIONS):
        assert credentials.reject(await credentials.headers(deadline_s()))
    for _ in range(20):
        assert not credentials.reject(await credentials.headers(deadline_s()))
    assert guarded_emulator.state["tokens_issued"] == MAX_REJECTIONS + 1


async def test_project_that_the_credentials_may_not_use_is_one_clear_error(
    guarded_emulator: Emulator, service_account: Any
) -> None:
    service_account(guarded_emulator.base_url)
    settings = VertexSettings(base_url=guarded_emulator.base_url, use_google_credentials=True, project="of-others")
    guarded_emulator.script({"kind": "status", "status": 403, "times": None})
    async with VertexAIClient(settings=settings) as client:
        with pytest.raises(ModelAuthError, match="do not allow") as raised:
            await client.generate(ask())
    assert (raised.value.status, raised.value.retryable) == (403, False)
    assert guarded_emulator.state["calls"] == 1


async def test_revoked_account_is_one_clear_error(service_account: Any) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
        head = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
        writer.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        service_account(f"http://127.0.0.1:{port}")
        with pytest.raises(ModelAuthError, match="refused"):
            await GoogleCredentials(SystemClock()).headers(deadline_s())


METADATA_CLIENT = """
import asyncio, sys
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.settings import VertexSettings
from tests.vertex.conftest import ask

async def main() -> None:
    settings = VertexSettings(base_url=sys.argv[1], use_google_credentials=True, transport="aiohttp")
    async with VertexAIClient(settings=settings) as client:
        print((await client.generate(ask("hola"))).finish_reason)

asyncio.run(main())
"""


def test_instance_gets_its_token_and_project_from_the_metadata_server(
    guarded_emulator: Emulator, tmp_path: Path
) -> None:
    """In a process of its own: Google's library reads the server's address when it is imported."""
    host = guarded_emulator.base_url.removeprefix("http://")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GOOGLE_", "CLOUDSDK_", "GCE_"))}
    env = {**kept, "GCE_METADATA_HOST": host, "GCE_METADATA_IP": host, "HOME": str(tmp_path)}
    command = [sys.executable, "-c", METADATA_CLIENT, guarded_emulator.base_url]
    done = subprocess.run(
        command, env=env, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("stop", "")
    state = guarded_emulator.state
    assert state["last_headers"]["authorization"] == "Bearer emulated-token-1"
    assert "/projects/emulated-project/" in state["last_path"]


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
    clock.ahead_s = 0  # the new one, too, would soon be due
    async with asyncio.timeout(10):
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
