"""The whole program without a model: the coaching team behind the edge, its answers labelled as what they are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import openai
from starlette.types import ASGIApp

from ngx_agents.app.config_sections import Config, LocalConfig, ServerConfig
from ngx_agents.app.lifespan import running
from tests.gateway.serving import Client, served

PLAN = "Quiero un plan de entrenamiento de fuerza de 3 días por semana"


@asynccontextmanager
async def _app(path: Path) -> AsyncIterator[ASGIApp]:
    config = Config(server=ServerConfig(data_dir=str(path), drain_s=0.5), local=LocalConfig(builtin="off"))
    async with running(config) as program:
        yield program.app


async def test_a_turn_without_a_model_is_a_template_and_says_so(tmp_path: Path) -> None:
    async with _app(tmp_path) as app, served(app) as url, aiohttp.ClientSession() as session:
        api = Client(session, url)
        status, turn = await api.say(await api.conversation(), PLAN)
        _, team = await api.call("GET", "/v1/agents")
    assert (status, turn["status"], turn["source"], turn["rung"]) == (200, "completed", "template", "template")
    assert turn["model"] is None
    assert set(turn["agents"]) <= {card["id"] for card in team["items"]}
    assert [artifact["kind"] for artifact in turn["artifacts"]] == ["TrainingPlan"]


async def test_openais_client_talks_to_the_team(tmp_path: Path) -> None:
    question: list[Any] = [{"role": "user", "content": PLAN}]
    async with _app(tmp_path) as app, served(app) as url, openai.AsyncOpenAI(base_url=url + "/v1", api_key="-") as ai:
        names = [model.id async for model in ai.models.list()]
        whole = await ai.chat.completions.create(model="ngx", messages=question)
        stream = await ai.chat.completions.create(model=names[-1], messages=question, stream=True)
        streamed = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert names[0] == "ngx"
    assert len(names) >= 4
    assert whole.choices[0].message.content
    assert (whole.model_extra or {})["ngx"]["source"] == "template"
    assert streamed


async def test_the_console_is_served_at_the_root(tmp_path: Path) -> None:
    async with _app(tmp_path) as app, served(app) as url, aiohttp.ClientSession() as session:
        status, page = await Client(session, url).call("GET", "/")
    assert status == 200
    assert "<html" in page.lower()
