"""Starts agents elsewhere, well and badly behaved ones, and makes a team with them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from typing import Any

import aiohttp
from aiohttp import web

from ngx_agents.a2a.server import A2AServer
from ngx_agents.a2a.trail import Trails
from ngx_agents.agents.answer_screen import AnswerScreen
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.loader import load_team
from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.remote.agent import RemoteAgent, RemoteSettings
from ngx_agents.agents.remote.meters import RemoteMeters
from ngx_agents.agents.remote.roster import RemoteRoster
from ngx_agents.agents.tools.registry import build_tools
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient
from tests.agents.memory_desk import MemoryDesk
from tests.agents.turns import a_task
from tests.ports import free_port

CARD = "/.well-known/agent-card.json"


@contextmanager
def sdk_agent(binding: str = "JSONRPC", *options: str, port: int | None = None) -> Iterator[str]:
    """The base URL of the SDK's own server with the weather agent, in a process that ends with the context."""
    port = free_port() if port is None else port
    command = [sys.executable, "-m", "tests.agents.remote.sdk_agent", str(port), binding, *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert url, f"the agent ended with {process.poll()}"
            yield url
        finally:
            process.kill()


@asynccontextmanager
async def raw_agent(answer: Any, *, card: Any = None) -> AsyncIterator[str]:
    """An HTTP server that shows a card and answers messages with `answer(request)`; both are aiohttp handlers."""

    async def usual_card(request: web.Request) -> web.Response:
        return web.json_response(a_card(str(request.url.origin())))

    app = web.Application()
    app.router.add_get(CARD, card or usual_card)
    app.router.add_post("/a2a", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


def a_card(origin: str, **changed: Any) -> dict[str, Any]:
    return {
        "name": "Weather",
        "description": "Forecasts",
        "version": "1",
        "supportedInterfaces": [{"url": f"{origin}/a2a", "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}],
        "capabilities": {"streaming": True},
        "defaultInputModes": ["text/plain"],
        "defaultOutputModes": ["text/plain"],
        "skills": [{"id": "forecast", "name": "Forecast", "description": "Weather", "tags": ["weather", "rain"]}],
        **changed,
    }


def settings(url: str, **changed: Any) -> RemoteSettings:
    return RemoteSettings(**{"id": "weather", "card_url": url + CARD, "timeout_s": 5.0, **changed})


@asynccontextmanager
async def team_with(
    *remote: RemoteSettings, model: VertexAIClient | None = None, metrics: Metrics | None = None
) -> AsyncIterator[CoachingTeam]:
    """The team, its agents elsewhere looked at."""
    bus = A2AServer()
    team = CoachingTeam(
        model=model, bus=bus, clock=SystemClock(), rng=Rng(1), metrics=metrics or Metrics(), remote=remote
    )
    async with bus, team.remote:
        yield team


@asynccontextmanager
async def alone(one: RemoteSettings) -> AsyncIterator[RemoteAgent]:
    """The agent without a team around it, looked at."""
    clock, rng, meters = SystemClock(), Rng(1), RemoteMeters(Metrics())
    agent = RemoteAgent(one, screen=_screen(), meters=meters, clock=clock, rng=rng, trails=Trails())
    async with RemoteRoster([agent], meters=meters, clock=clock, rng=rng):
        yield agent


async def ask(agent: RemoteAgent, text: str = "weather") -> Work:
    """Its whole answer to a turn."""
    work = Work(agent=agent.id)
    async for _ in agent.answer(a_brief(text), work):
        pass
    return work


def a_brief(text: str) -> Brief:
    return Brief(
        task=a_task(text, locale="en"), desk=MemoryDesk(), calls=A2AServer().context(), language="en", words=(),
        cautions=(), guidance=(), skills={}, history_tokens=100,
    )  # fmt: skip


@cache
def _screen() -> AnswerScreen:
    return AnswerScreen(load_team(tools=build_tools()).safety)


async def until(is_so: Any, within_s: float = 20.0) -> None:
    async with asyncio.timeout(within_s):
        while not is_so():  # noqa: ASYNC110  # what is waited for is in another process
            await asyncio.sleep(0.02)


async def cancelled_at(url: str, *, more_than: int) -> None:
    """Until the SDK agent was told to cancel another task."""
    async with asyncio.timeout(10.0):
        while len((await seen_by(url))["cancelled"]) <= more_than:  # noqa: ASYNC110  # in another process
            await asyncio.sleep(0.05)


async def seen_by(url: str) -> dict[str, list[str]]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/seen") as answer:
        found: dict[str, list[str]] = json.loads(await answer.read())
        return found
