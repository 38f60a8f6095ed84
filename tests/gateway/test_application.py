"""The edge itself: request ids, headers, health, counting, the console, the unexpected."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from ngx_agents.errors import JournalTooNew
from ngx_agents.gateway.application import Gateway
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.operation import Operation
from ngx_agents.gateway.operations import all_operations
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.modes import Mode
from tests.gateway.serving import client, house, served


async def test_a_request_id_is_echoed_when_it_is_a_plain_word_and_made_otherwise(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        seen = []
        for given in ("abc-123", "has space", "x" * 200):
            async with api.session.get(api.url + "/v1/agents", headers={"X-Request-Id": given}) as response:
                seen.append(response.headers["x-request-id"])
        _, problem = await api.call("GET", "/v1/nothing", headers={"X-Request-Id": "find-me"})
    assert seen[0] == "abc-123"
    assert len({*seen, "has space", "x" * 200}) == 5
    assert problem["request_id"] == "find-me"


async def test_answers_are_neither_stored_nor_sniffed_and_open_to_no_other_origin(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for path in ("/v1/agents", "/v1/nothing", "/livez"):
            async with api.session.get(api.url + path, headers={"Origin": "https://evil.test"}) as response:
                assert response.headers["cache-control"] == "no-store"
                assert response.headers["x-content-type-options"] == "nosniff"
                assert not [name for name in response.headers if name.lower().startswith("access-control")]


async def test_health_tells_loop_gate_and_mode(tmp_path: Path) -> None:
    async with house(tmp_path) as made, served(made.app) as url:
        import aiohttp

        async with aiohttp.ClientSession() as session:
            async with session.get(url + "/livez") as response:
                assert (response.status, (await response.json())["status"]) == (200, "alive")
            made.modes.force(Mode.DEGRADED_2, by="ana", reason="a drill")
            async with session.get(url + "/readyz") as response:
                assert response.headers["ngx-mode"] == "degraded-2"
                assert await response.json() == {
                    "status": "ready",
                    "mode": "degraded-2",
                    "reasons": ["operator: a drill"],
                    "journal": "normal",
                    "model": "script",
                }
            made.modes.automatic()
            async with session.get(url + "/livez") as response:
                assert "ngx-mode" not in response.headers
            made.gate.is_open = False
            async with session.get(url + "/readyz") as response:
                assert (response.status, response.headers["retry-after"]) == (503, "1")


async def test_requests_are_counted_with_bounded_labels(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        await api.say(await api.conversation(), "say x")
        for number in range(5):
            await api.call("GET", f"/v1/nothing/{number}")
            await api.call("GET", f"/v1/conversations/c_{number}")
        _, text = await api.call("GET", "/metrics")
    turns = '{method="POST",route="/v1/conversations/{conversation_id}/turns",status="200"} 1.0'
    assert f"ngx_http_requests_total{turns}" in text
    assert 'ngx_http_requests_total{method="GET",route="other",status="404"} 5.0' in text
    assert 'ngx_http_requests_total{method="GET",route="/v1/conversations/{conversation_id}",status="404"} 5.0' in text
    assert 'ngx_http_request_seconds_count{route="/v1/conversations/{conversation_id}/turns"} 1.0' in text


async def test_the_team_is_shown(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        _, page = await api.call("GET", "/v1/agents")
        assert [card["id"] for card in page["items"]] == ["parrot", "owl"]
        assert await api.call("GET", "/v1/agents/owl") == (200, page["items"][1])
        assert (await api.call("GET", "/v1/agents/nobody"))[0] == 404


async def test_the_console_gets_the_paths_that_nothing_else_knows(tmp_path: Path) -> None:
    async with client(tmp_path, console=PlainTextResponse("console")) as api:
        for path in ("/", "/ops", "/static/x.js"):
            assert await api.call("GET", path) == (200, "console")
        assert (await api.call("GET", "/v1/nothing"))[0] == 404
        assert (await api.call("GET", "/livez"))[1]["status"] == "alive"


async def test_what_nobody_expected_is_logged_once_and_hidden(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def explode(exchange: Exchange) -> None:
        raise RuntimeError("the password is 1234")

    async with house(tmp_path) as made:
        settings = GatewaySettings()
        operations = [each for each in all_operations(made.deps, settings) if each.path != "/v1/agents"]
        operations.append(
            Operation(method="GET", path="/v1/agents", handler=explode, summary="", tag="agents", answers={})
        )
        scope = {"type": "http", "method": "GET", "path": "/v1/agents", "query_string": b"", "headers": []}
        with caplog.at_level(logging.ERROR, logger="ngx_agents"):
            sent = await _scoped(Gateway(made.deps, settings, operations=operations), scope, "http.request")
    assert sent[0]["status"] == 500
    assert b'"code":"internal"' in sent[1]["body"]
    assert b"1234" not in sent[1]["body"]
    assert len([record for record in caplog.records if record.name == "ngx_agents.gateway"]) == 1


async def test_head_is_get_without_a_body(tmp_path: Path) -> None:
    async with client(tmp_path) as api, api.session.head(api.url + "/v1/agents") as response:
        assert response.status == 200
        assert int(response.headers["content-length"]) > 2
        assert await response.read() == b""


async def _scoped(app: Gateway, scope: dict[str, Any], *received: str) -> list[Any]:
    """What the application sends for a scope and the messages it receives."""
    sent: list[Any] = []
    waiting = [{"type": kind, "body": b""} for kind in received]

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return waiting.pop(0)

    await app(scope, receive, send)
    return sent


async def test_lifespan_passes_and_web_sockets_are_declined(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        assert isinstance(made.app, Gateway)
        spoken = await _scoped(made.app, {"type": "lifespan"}, "lifespan.startup", "lifespan.shutdown")
        declined = await _scoped(made.app, {"type": "websocket", "path": "/v1/turns"})
    assert [message["type"] for message in spoken] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert declined == [{"type": "websocket.close", "code": 1003}]


async def test_a_journal_that_refuses_for_good_is_logged_and_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(exchange: Exchange) -> None:
        raise JournalTooNew(found=9, supported=3)

    async with house(tmp_path) as made:
        settings = GatewaySettings()
        operations = [each for each in all_operations(made.deps, settings) if each.path != "/v1/agents"]
        operations.append(
            Operation(method="GET", path="/v1/agents", handler=refuse, summary="", tag="agents", answers={})
        )
        scope = {"type": "http", "method": "GET", "path": "/v1/agents", "query_string": b"", "headers": []}
        with caplog.at_level(logging.ERROR, logger="ngx_agents"):
            sent = await _scoped(Gateway(made.deps, settings, operations=operations), scope, "http.request")
    assert sent[0]["status"] == 500
    assert b'"code":"journal_too_new"' in sent[1]["body"]
    assert [record.getMessage() for record in caplog.records] == ["gateway.failed"]


async def test_a_route_that_never_asked_who_calls_lets_nobody_act(tmp_path: Path) -> None:
    async def act(exchange: Exchange) -> None:
        await exchange.reply_json({"roles": sorted(exchange.principal.roles)})

    scope = {"type": "http", "method": "GET", "path": "/v1/agents", "query_string": b"", "headers": []}
    told = []
    async with house(tmp_path) as made:
        settings = GatewaySettings()
        others = [each for each in all_operations(made.deps, settings) if each.path != "/v1/agents"]
        for is_open in (True, False):
            mine = Operation(
                method="GET", path="/v1/agents", handler=act, summary="", tag="agents", answers={}, is_open=is_open
            )
            sent = await _scoped(Gateway(made.deps, settings, operations=[*others, mine]), scope, "http.request")
            told.append((sent[0]["status"], sent[1]["body"]))
    assert told[0][0] == 401
    assert told[1] == (200, b'{"roles":["operator"]}'), "without authentication, who asks is the local operator"
