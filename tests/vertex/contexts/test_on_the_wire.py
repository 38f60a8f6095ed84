"""The autopilot against the emulator's cachedContents, over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ModelError, ModelRequestError
from ngx_agents.vertex.content import ModelReply, ModelRequest
from ngx_agents.vertex.contexts.contexts import Contexts
from ngx_agents.vertex.contexts.provider import ContextTarget, Method
from ngx_agents.vertex.contexts.settings import ContextSettings
from ngx_agents.vertex.dialects.vertex import VertexDialect
from ngx_agents.vertex.refusal import error_of_status
from tests.vertex.conftest import Emulator
from tests.vertex.contexts.requests import TARGET, shared_request

DIALECT = VertexDialect("global")
CLOCK = SystemClock()


class Wire:
    """Calls the emulator as the client does: kept prefixes, and generations with or without one."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def __call__(
        self, target: ContextTarget, path: str, *, method: Method, body: bytes, deadline_s: float
    ) -> bytes:
        url = f"/v1/projects/{target.project}/locations/{target.location}/{path}"
        async with self.session.request(method, url, data=body or None) as answer:
            found = await answer.read()
            if answer.status != 200:
                raise error_of_status(answer.status, found, retry_after=None, now_s=0.0)
            return found

    async def generate(self, request: ModelRequest, name: str | None) -> ModelReply:
        body = DIALECT.encode(request, model=TARGET.model, streams=False, cached_content=name)
        path = f"publishers/google/models/{TARGET.model}:generateContent"
        found = await self(TARGET, path, method="POST", body=body, deadline_s=request.deadline_s)
        return DIALECT.decode(found, model=TARGET.model)


@pytest_asyncio.fixture
async def wire(emulator: Emulator) -> AsyncIterator[Wire]:
    async with aiohttp.ClientSession(emulator.base_url, headers={"content-type": "application/json"}) as session:
        yield Wire(session)


async def ask(contexts: Contexts, wire: Wire) -> tuple[ModelReply, str | None]:
    """As a caller does: with the copy if there is one, and once more without when that was refused."""
    request = shared_request()
    name = contexts.name_for(contexts.prefix_of(request), request, TARGET)
    try:
        return await wire.generate(request, name), name
    except ModelError as exc:
        if name is None or not contexts.failed(name, exc):
            raise
        return await wire.generate(request, None), None


async def ask_until_kept(contexts: Contexts, wire: Wire) -> tuple[ModelReply, str]:
    async with asyncio.timeout(5):
        while True:
            reply, name = await ask(contexts, wire)
            if name is not None:
                return reply, name


async def test_kept_prefix_is_read_instead_of_sent(emulator: Emulator, wire: Wire) -> None:
    async with Contexts(ContextSettings(), wire, clock=CLOCK) as contexts:
        plain, _ = await ask(contexts, wire)
        reply, name = await ask_until_kept(contexts, wire)
    assert plain.usage.cached_tokens == 0
    assert reply.usage.cached_tokens > 4096
    assert reply.usage.input_tokens == pytest.approx(plain.usage.input_tokens, rel=0.05)
    assert "¿Cómo puedo dormir mejor?" in reply.text
    assert name.rpartition("/")[2] in emulator.state["caches"]["live"]
    assert emulator.state["caches"]["creates"] == 1


@pytest.mark.parametrize("order", [{"expire": ["*"]}, {"delete": ["*"]}])
async def test_lost_copy_costs_one_repeated_call_and_is_made_again(
    emulator: Emulator, wire: Wire, order: dict[str, list[str]]
) -> None:
    async with Contexts(ContextSettings(), wire, clock=CLOCK) as contexts:
        _, first = await ask_until_kept(contexts, wire)
        emulator.order(caches=order)
        reply, name = await ask(contexts, wire)
        assert reply.text
        assert name is None
        _, second = await ask_until_kept(contexts, wire)
        assert second != first
        assert contexts.counts["lost"] == 1


async def test_too_small_for_the_provider_is_tried_once(emulator: Emulator, wire: Wire) -> None:
    emulator.order(caches={"min_tokens": 100_000})
    async with Contexts(ContextSettings(), wire, clock=CLOCK) as contexts:
        for _ in range(30):
            assert (await ask(contexts, wire))[0].text
        assert contexts.counts["failed"] == 1
    assert emulator.state["caches"]["creates"] == 0


async def test_instances_share_a_copy(emulator: Emulator, wire: Wire) -> None:
    async with (
        Contexts(ContextSettings(), wire, clock=CLOCK) as one,
        Contexts(ContextSettings(), wire, clock=CLOCK) as other,
    ):
        _, first = await ask_until_kept(one, wire)
        _, second = await ask_until_kept(other, wire)
    assert first == second
    assert emulator.state["caches"]["creates"] == 1


async def test_closing_deletes_copies_when_told(emulator: Emulator, wire: Wire) -> None:
    async with Contexts(ContextSettings(delete_on_close=True), wire, clock=CLOCK) as contexts:
        await ask_until_kept(contexts, wire)
        assert len(emulator.state["caches"]["live"]) == 1
    assert emulator.state["caches"]["live"] == []


async def test_system_beside_a_copy_would_be_refused(emulator: Emulator, wire: Wire) -> None:
    """What the dialect leaves out, the provider does not accept."""
    async with Contexts(ContextSettings(), wire, clock=CLOCK) as contexts:
        _, name = await ask_until_kept(contexts, wire)
    whole = DIALECT.encode(shared_request(), model=TARGET.model, streams=False)
    body = whole[:-1] + b',"cachedContent":"' + name.encode() + b'"}'
    path = f"publishers/google/models/{TARGET.model}:generateContent"
    with pytest.raises(ModelRequestError):
        await wire(TARGET, path, method="POST", body=body, deadline_s=CLOCK.monotonic_s() + 5)
