"""Each mode switched on in a running server by an operator, and what it does there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.emulator_process import start_emulator
from tests.gateway.serving import Client
from tests.server_process import ServerProcess

SLEEP = "Dame consejos para dormir mejor por la noche"
BOTH = "Quiero un plan de fuerza de 3 días y un menú con proteínas para la semana"
FACT = "¿Qué es la hipertrofia muscular?"


@pytest.fixture(scope="module")
def model() -> Iterator[str]:
    with start_emulator(chunks=10) as url:
        yield url


@pytest.fixture(scope="module")
def server(model: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(
        tmp_path_factory.mktemp("modes"),
        NGX_VERTEX_BASE_URL=model,
        NGX_BUDGETS_CHEAPER_MODEL="gemini-3.5-flash-lite",
        NGX_SERVER_LOG_LEVEL="error",
    ) as made:
        yield made


@pytest.fixture
async def api(server: ServerProcess) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        made = Client(session, server.base_url)
        yield made
        await made.call("DELETE", "/v1/admin/mode")


@asynccontextmanager
async def mode(api: Client, label: str) -> AsyncIterator[None]:
    """The mode as an operator sets it, until the block is left."""
    status, view = await api.call("PUT", "/v1/admin/mode", json={"mode": label, "reason": "a test"})
    assert (status, view["mode"], view["is_set"]) == (200, label, True)
    yield
    status, view = await api.call("DELETE", "/v1/admin/mode")
    assert (status, view["mode"], view["is_set"]) == (200, "normal", False)


async def said(api: Client, text: str, **more: Any) -> Any:
    status, turn = await api.say(await api.conversation(), text, **more)
    assert (status, turn["status"]) == (200, "completed"), turn
    return turn


async def last_request(api: Client, model: str) -> Any:
    async with api.session.get(model + "/_control") as answer:
        return (await answer.json())["last_request"]


async def test_degraded_2_asks_for_shorter_answers_and_says_so(api: Client, model: str) -> None:
    usual = await said(api, SLEEP + " uno")
    assert not usual["degraded"]
    assert "maxOutputTokens" not in (await last_request(api, model)).get("generationConfig", {})
    async with mode(api, "degraded-2"):
        reduced = await said(api, SLEEP + " dos")
        assert (reduced["source"], reduced["degraded"]) == ("model", True)
        assert (await last_request(api, model))["generationConfig"]["maxOutputTokens"] == 512
        assert not (await said(api, SLEEP + " tres", **{"class": 0}))["degraded"]
        assert "maxOutputTokens" not in (await last_request(api, model)).get("generationConfig", {})


async def test_degraded_2_sends_less_of_what_was_said_before(api: Client, model: str) -> None:
    conversation_id = await api.conversation()
    for number in range(3):
        await api.say(conversation_id, f"{SLEEP} {number} " + "palabra " * 300)
    await api.say(conversation_id, SLEEP + " y nada más")
    whole = len(str((await last_request(api, model))["contents"]))
    async with mode(api, "degraded-2"):
        await api.say(conversation_id, SLEEP + " y nada menos")
        assert len(str((await last_request(api, model))["contents"])) < 0.8 * whole


async def test_degraded_3_asks_the_cheaper_model_and_one_agent(api: Client) -> None:
    both = await said(api, BOTH)
    assert len(both["agents"]) == 2
    assert both["model"] != "gemini-3.5-flash-lite"
    async with mode(api, "degraded-3"):
        one = await said(api, BOTH)
        assert (len(one["agents"]), one["model"], one["degraded"]) == (1, "gemini-3.5-flash-lite", True)


async def test_degraded_4_gives_the_sheddable_classes_kept_answers_and_templates(api: Client, model: str) -> None:
    known = await said(api, FACT)
    assert known["source"] == "model"
    async with mode(api, "degraded-4"):
        kept = await said(api, FACT, **{"class": 2})
        assert (kept["source"], kept["text"]) == ("cache", known["text"])
        async with api.session.get(model + "/_control") as answer:
            calls = (await answer.json())["calls"]
        fixed = await said(api, BOTH, **{"class": 2})
        assert (fixed["source"], fixed["degraded"]) == ("template", True)
        async with api.session.get(model + "/_control") as answer:
            assert (await answer.json())["calls"] == calls
        assert (await said(api, SLEEP + " cuatro"))["source"] == "model"


async def test_read_only_serves_history_and_refuses_turns(api: Client) -> None:
    conversation_id = await api.conversation()
    await api.say(conversation_id, SLEEP)
    async with mode(api, "read-only"):
        status, problem = await api.say(conversation_id, SLEEP)
        assert (status, problem["code"]) == (503, "read_only")
        _, page = await api.call("GET", f"/v1/conversations/{conversation_id}/messages")
        assert len(page["items"]) == 2
        _, ready = await api.call("GET", "/readyz")
        assert (ready["status"], ready["mode"], ready["reasons"]) == ("ready", "read-only", ["operator: a test"])


async def test_what_an_operator_sets_is_logged_and_ends_by_itself(api: Client) -> None:
    status, view = await api.call("PUT", "/v1/admin/mode", json={"mode": "degraded-1", "reason": "short", "for_s": 0.3})
    assert (status, view["is_everywhere"]) == (200, True)
    _, audit = await api.call("GET", "/v1/admin/audit?target=mode")
    assert audit["items"][0]["after"] == {"mode": "degraded-1", "reason": "short", "for_s": 0.3}
    while (await api.call("GET", "/v1/admin/mode"))[1]["mode"] != "normal":
        pass
    _, view = await api.call("GET", "/v1/admin/mode")
    assert [past["mode"] for past in view["history"]][:2] == ["normal", "degraded-1"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mode": "degraded-9", "reason": "x"},
        {"mode": "normal", "reason": ""},
        {"mode": "normal", "reason": "x", "for_s": 0},
    ],
)
async def test_what_cannot_be_meant_is_refused(api: Client, body: Any) -> None:
    assert (await api.call("PUT", "/v1/admin/mode", json=body))[0] == 400


async def test_calls_that_all_fail_degrade_the_server(model: str, tmp_path: Path) -> None:
    with start_emulator() as broken:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            faults = [{"kind": "status", "status": 503, "times": 1000}]
            async with session.post(broken + "/_control", json=faults) as answer:
                assert answer.status == 200, await answer.text()
            with ServerProcess(
                tmp_path, NGX_VERTEX_BASE_URL=broken, NGX_SERVER_LOG_LEVEL="error", NGX_VERTEX_CACHE_ENABLED="false"
            ) as server:
                api = Client(session, server.base_url)
                for number in range(40):
                    assert (await said(api, f"{SLEEP} {number}"))["source"] == "template"
                    _, ready = await api.call("GET", "/readyz")
                    if ready["mode"] == "degraded-4":
                        break
                assert ready["reasons"] == ["model: calls of the model fail"]
