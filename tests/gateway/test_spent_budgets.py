"""A budget that blocks, spent: every way in refuses with the same error, tells when, and stores nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ngx_agents.agents.budget_items import Periods
from ngx_agents.clock import SystemClock
from ngx_agents.errors import BudgetSpent
from ngx_agents.gateway.problems import headers_of
from ngx_agents.state.commands import PutControl
from ngx_agents.turns.lookout import put_off_s
from tests.gateway.serving import Client, House, house, served

DAY = 86_400.0
CHAT = {"model": "ngx", "messages": [{"role": "user", "content": "say more"}]}


async def put(made: House, **body: Any) -> None:
    told = json.dumps({"scope": "user", "period": "day", "action": "block"} | body).encode() if body else b""
    await made.deps.tell(PutControl(kind="budget", id="per-user", body=told, now=1.0))
    await made.deps.controls.refresh()


async def spend(made: House, amount: int) -> None:
    """Of what the one local user may spend today."""
    day, ends_at = Periods().now("day", SystemClock().now_s())
    lease = made.ledger.lease(f"per-user/{day}/tokens/local/local", limit=100, ends_at=ends_at, blocks=True)
    assert await made.ledger.reserve(lease, amount, is_forced=False)
    made.ledger.settle(lease, amount, amount)


@asynccontextmanager
async def spent_house(path: Path) -> AsyncIterator[tuple[House, Client]]:
    async with house(path) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        await put(made, tokens=100)
        yield made, Client(session, url)


async def test_a_turn_is_refused_once_the_budget_is_spent_and_let_in_when_it_is_raised(tmp_path: Path) -> None:
    async with spent_house(tmp_path) as (made, api):
        conversation_id = await api.conversation()
        assert (await api.say(conversation_id, "say one"))[0] == 200
        await spend(made, 100)
        async with api.session.post(
            f"{api.url}/v1/conversations/{conversation_id}/turns", json={"text": "say more"}
        ) as response:
            problem = await response.json()
            left_s = DAY - SystemClock().now_s() % DAY
            assert (response.status, response.content_type) == (429, "application/problem+json")
            assert problem["code"] == "budget_spent"
            assert int(response.headers["retry-after"]) == pytest.approx(left_s, abs=30)
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
        assert len(page["items"]) == 2, "nothing of it is stored"
        _, exposed = await api.call("GET", "/metrics")
        assert 'ngx_admission_refused_total{class="1",why="budget"} 1.0' in exposed
        await put(made, tokens=1000)
        assert (await api.say(conversation_id, "say two"))[0] == 200


async def test_other_ways_in_refuse_alike_and_begin_no_conversation(tmp_path: Path) -> None:
    async with spent_house(tmp_path) as (made, api):
        await spend(made, 120)
        async with api.session.post(f"{api.url}/v1/chat/completions", json=CHAT) as response:
            error = (await response.json())["error"]
            assert (response.status, error["code"], error["type"]) == (429, "budget_spent", "rate_limit_error")
            assert int(response.headers["retry-after"]) >= 1
        call = {"name": "ask_team", "arguments": {"text": "say more"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
        _, answer = await api.call("POST", "/mcp", json=body, headers=headers)
        told = answer["result"]["structuredContent"]
        assert told["code"] == "budget_spent"
        assert told["retry_after_s"] > 0
        assert (await api.call("GET", "/v1/conversations"))[1]["items"] == []


async def test_no_budget_keeps_an_emergency_out(tmp_path: Path) -> None:
    """Its answer is the screen's own words: it costs nothing of what is spent."""
    async with spent_house(tmp_path) as (made, api):
        await spend(made, 120)
        assert (await api.say(await api.conversation(), "say emergency"))[0] == 200
        chat = {"model": "ngx", "messages": [{"role": "user", "content": "say emergency"}]}
        async with api.session.post(f"{api.url}/v1/chat/completions", json=chat) as response:
            assert response.status == 200
        call = {"name": "ask_team", "arguments": {"text": "say emergency"}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call}
        headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18"}
        async with api.session.post(f"{api.url}/mcp", json=body, headers=headers) as response:
            assert "budget_spent" not in await response.text()
        assert (await api.say(await api.conversation(), "say two"))[0] == 429


@pytest.mark.parametrize(("binding", "status"), [("jsonrpc", 200), ("rest", 429)])
async def test_the_open_protocol_refuses_alike(tmp_path: Path, binding: str, status: int) -> None:
    from tests.gateway.a2a.wire import Caller, Refused, serving

    async with serving(tmp_path) as (url, made), aiohttp.ClientSession() as session:
        await put(made, tokens=0)
        on = Caller(session, url, binding, {"A2A-Version": "1.0"})
        with pytest.raises(Refused) as caught:
            await on.send("hi")
        assert await on.send("say emergency")
        assert caught.value.status == status
        assert "Retry-After" not in caught.value.headers, "a budget of nothing has no end"
        assert "None" not in json.dumps(caught.value.error)
        assert (await on.call("ListTasks", {}))["totalSize"] == 1, "the emergency alone"


async def test_a_batch_waits_until_there_is_something_to_spend(tmp_path: Path) -> None:
    async with spent_house(tmp_path) as (made, api):
        await put(made, tokens=0)
        body = {"items": [{"text": "say x"}]}
        status, batch = await api.call("POST", "/v1/batches", json=body)
        assert status == 201
        await asyncio.sleep(0.3)
        _, seen = await api.call("GET", f"/v1/batches/{batch['id']}")
        assert (seen["counts"]["completed"], seen["finished_at"]) == (0, None)


@pytest.mark.parametrize(("told_s", "expected_s"), [(None, 60.0), (30 * DAY, 60.0), (5.0, 5.0)])
def test_what_waits_asks_again_before_the_period_ends_for_a_budget_may_be_raised(
    told_s: float | None, expected_s: float
) -> None:
    assert put_off_s(BudgetSpent("user", by="b", retry_after_s=told_s), 60.0) == expected_s


def test_without_a_time_there_is_no_retry_after() -> None:
    assert headers_of(BudgetSpent("user", by="b", retry_after_s=None)) == []
