from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from ngx_agents.agents.prompt import cache_user
from ngx_agents.app.config_sections import (
    AuthConfig,
    Config,
    LocalConfig,
    RedisConfig,
    ServerConfig,
    VertexConfig,
)
from ngx_agents.app.config_turns import OutboxConfig
from ngx_agents.app.lifespan import running
from ngx_agents.app.wiring import choose_model, gateway_settings
from ngx_agents.errors import ConfigError, JournalLocked, ModelUnavailable
from ngx_agents.state.model import Owner
from ngx_agents.vertex.content import Content, ModelRequest, Text
from ngx_agents.vertex.local_model import is_installed
from ngx_agents.vertex.quota import QuotaLimit
from ngx_agents.vertex.scope import CacheRule, User
from tests.emulator_process import start_emulator
from tests.gateway.serving import served

NO_BUILTIN = LocalConfig(builtin="off")


@pytest.fixture(autouse=True)
def _no_google_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "GCE_METADATA_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))


async def test_nothing_configured_means_templates() -> None:
    choice = await choose_model(Config())
    assert choice.settings is None
    assert "templates" in choice.label


async def test_an_endpoint_or_key_is_vertex() -> None:
    emulated = await choose_model(Config(vertex=VertexConfig(base_url="http://127.0.0.1:1")))
    assert emulated.settings is not None
    assert emulated.settings.provider == "vertex"
    assert emulated.settings.project == "local"
    express = await choose_model(Config(vertex=VertexConfig(api_key="k")))
    assert express.settings is not None
    assert express.settings.project is None


async def test_a_limit_per_minute_is_kept_by_the_client() -> None:
    limited = VertexConfig(base_url="http://127.0.0.1:1", requests_per_minute=60, quota_instances=3)
    choice = await choose_model(Config(vertex=limited))
    assert choice.settings is not None
    assert choice.settings.quota == (QuotaLimit(requests_per_min=60),)
    assert choice.settings.quota_instances == 3
    free = await choose_model(Config(vertex=VertexConfig(base_url="http://127.0.0.1:1")))
    assert free.settings is not None
    assert free.settings.quota == ()


async def test_a_project_without_credentials_says_so_and_takes_the_next() -> None:
    vertex = VertexConfig(project="p")
    alone = await choose_model(Config(vertex=vertex))
    assert alone.settings is None
    assert "no Google credentials found for project p" in alone.label
    local = LocalConfig(model_url="http://127.0.0.1:1/v1", model="small")
    beside = await choose_model(Config(vertex=vertex, local=local))
    assert beside.settings is not None
    assert (beside.settings.provider, beside.settings.model) == ("openai", "small")


async def test_a_model_of_ones_own_stands_behind_vertex() -> None:
    local = LocalConfig(model_url="http://127.0.0.1:1/v1", model="small")
    choice = await choose_model(Config(vertex=VertexConfig(base_url="http://127.0.0.1:2"), local=local))
    assert choice.settings is not None
    assert (choice.settings.local_url, choice.settings.local_model) == ("http://127.0.0.1:1/v1", "small")


async def test_the_secret_is_made_once_and_readable_by_nobody_else(tmp_path: Path) -> None:
    config = Config(server=ServerConfig(data_dir=str(tmp_path)), local=NO_BUILTIN)
    async with running(config) as first:
        keys = first.parts.foundation.keys
    path = tmp_path / "secret.key"
    assert path.stat().st_mode & 0o077 == 0
    async with running(config) as second:
        assert second.parts.foundation.keys == keys
    path.write_text("not a key")
    with pytest.raises(ConfigError, match=r"secret\.key"):
        async with running(config):
            pass


async def test_an_unreachable_redis_does_not_keep_a_server_from_starting(tmp_path: Path) -> None:
    config = Config(
        server=ServerConfig(data_dir=str(tmp_path), secret_key=("k" * 32,)),
        redis=RedisConfig(url="redis://127.0.0.1:1"),
        local=NO_BUILTIN,
    )
    async with running(config) as program:
        assert program.parts.foundation.shared is not None


async def test_a_second_server_on_the_same_journal_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    config = Config(server=ServerConfig(data_dir=str(tmp_path)), local=NO_BUILTIN)
    async with running(config) as first:
        with pytest.raises(JournalLocked):
            async with running(config):
                pass
        assert not first.engine.is_draining
    async with running(config):
        pass


async def test_settings_that_cannot_work_stop_the_start_and_leave_nothing_open(tmp_path: Path) -> None:
    broken = Config(server=ServerConfig(data_dir=str(tmp_path)), auth=AuthConfig(mode="jwt"), local=NO_BUILTIN)
    with pytest.raises(ConfigError):
        async with running(broken):
            pass
    async with running(Config(server=ServerConfig(data_dir=str(tmp_path)), local=NO_BUILTIN)):
        pass


@pytest.mark.skipif(not is_installed(), reason="the extra `local` is not installed (make local)")
async def test_the_extras_model_runs_beside_a_server_that_has_no_other(tmp_path: Path) -> None:
    config = Config(server=ServerConfig(data_dir=str(tmp_path)))
    async with running(config) as program:
        client = program.parts.client
        assert client is not None
        assert program.parts.choice.is_small
        deadline_s = program.parts.clock.monotonic_s() + 40
        question = Content(role="user", parts=(Text(text="What is protein?"),))
        request = ModelRequest(system="", contents=(question,), deadline_s=deadline_s, urgency=3)
        while True:
            try:
                reply = await client.generate(request)
                break
            except ModelUnavailable:  # it is still reading its weights
                await asyncio.sleep(0.2)
    assert (reply.source, reply.rung) == ("local", "local")
    assert "protein" in reply.text.lower()


async def test_erasing_a_user_erases_the_answers_kept_for_them(tmp_path: Path) -> None:
    with start_emulator() as url:
        config = Config(
            server=ServerConfig(data_dir=str(tmp_path)), vertex=VertexConfig(base_url=url), local=NO_BUILTIN
        )
        async with running(config) as program, served(program.app) as base_url, aiohttp.ClientSession() as session:
            client = program.parts.client
            assert client is not None
            rule = CacheRule(scope=User(cache_user(Owner("local", "local"))), is_repeatable=True)
            question = Content(role="user", parts=(Text(text="¿Y yo?"),))
            deadline_s = program.parts.clock.monotonic_s() + 10
            request = ModelRequest(system="", contents=(question,), deadline_s=deadline_s, cache=rule)
            assert (await client.generate(request)).source == "model"
            assert (await client.generate(request)).source == "cache"
            async with session.delete(f"{base_url}/v1/me") as answer:
                assert (await answer.json())["erased"]["kept_answers"] == 1
            assert (await client.generate(request)).source == "model"


def test_the_bound_on_standing_webhooks_reaches_the_edge() -> None:
    assert gateway_settings(Config(outbox=OutboxConfig(max_webhooks=3))).max_webhooks == 3
