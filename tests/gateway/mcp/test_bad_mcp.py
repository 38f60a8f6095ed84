"""What is no MCP: each gets its own clear answer, and nothing is begun."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.serving import client
from tests.gateway.test_key_ring import keyed

MODERN = "2026-07-28"
JSON = {"Content-Type": "application/json", "Accept": "application/json"}
META = {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": {}}


def a_call(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": params}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 5000, -32600),
        (b"[]", -32600),
        (b"1", -32600),
        (json.dumps([a_call("ping")]).encode(), -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32600),
    ],
)
async def test_what_is_no_message_is_an_error_with_status_400(tmp_path: Path, body: bytes, code: int) -> None:
    async with client(tmp_path) as api:
        status, answer = await api.call("POST", "/mcp", data=body, headers=JSON)
    assert (status, answer["id"], answer["error"]["code"]) == (400, None, code)


@pytest.mark.parametrize(
    ("call", "headers", "code", "status"),
    [
        (a_call("resources/list"), {}, -32601, 200),
        (a_call("tools/call", name="no_such"), {}, -32602, 200),
        (a_call("tools/call", name=7), {}, -32602, 200),
        (a_call("ping"), {"MCP-Protocol-Version": "1999-01-01"}, -32022, 400),
        (a_call("server/discover"), {}, -32602, 400),
        (a_call("server/discover", _meta=META), {}, -32020, 400),
        (a_call("tools/list", _meta=META), {"MCP-Protocol-Version": MODERN}, -32020, 400),
        (a_call("tools/list", _meta=META), {"MCP-Protocol-Version": MODERN, "Mcp-Method": "ping"}, -32020, 400),
        (a_call("no/such", _meta=META), {"MCP-Protocol-Version": MODERN, "Mcp-Method": "no/such"}, -32601, 404),
        (
            a_call("tools/call", name="list_agents", _meta=META),
            {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "ask_team"}, -32020, 400,
        ),
        (
            a_call("ping", _meta={**META, "io.modelcontextprotocol/protocolVersion": "2030-01-01"}),
            {"MCP-Protocol-Version": "2030-01-01", "Mcp-Method": "ping"}, -32022, 400,
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_an_error(
    tmp_path: Path, call: dict[str, Any], headers: dict[str, str], code: int, status: int
) -> None:
    async with client(tmp_path) as api:
        found, answer = await api.call("POST", "/mcp", json=call, headers={"Accept": "application/json", **headers})
    assert (found, answer["id"], answer["error"]["code"]) == (status, 1, code)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("ask_team", {}, "invalid_request"),
        ("ask_team", {"text": ""}, "invalid_request"),
        ("ask_team", {"text": " \n"}, "invalid_request"),
        ("ask_team", {"text": "a\0b"}, "invalid_request"),
        ("ask_team", {"text": "x" * 32_001}, "invalid_request"),
        ("ask_team", {"text": "hi", "agent": "nobody"}, "invalid_request"),
        ("ask_team", {"text": "hi", "user_id": "ana"}, "invalid_request"),
        ("ask_team", {"text": "hi", "conversation_id": "c_zz"}, "not_found"),
        ("ask_team", {"text": "hi", "conversation_id": "c_0001ARZ3NDEKTSV4RRFFQ69G5FAV"}, "not_found"),
        ("read_conversation", {"conversation_id": "nonsense"}, "not_found"),
        ("read_artifact", {"artifact_id": "a_0001ARZ3NDEKTSV4RRFFQ69G5FAV"}, "not_found"),
        ("list_conversations", {"limit": 0}, "invalid_request"),
        ("list_conversations", {"cursor": "nonsense"}, "invalid_request"),
    ],
)
async def test_what_a_tool_refuses_is_told_as_its_result(
    tmp_path: Path, name: str, arguments: dict[str, Any], code: str
) -> None:
    async with client(tmp_path) as api:
        _, answer = await api.call(
            "POST", "/mcp", json=a_call("tools/call", name=name, arguments=arguments), headers=JSON
        )
        _, listed = await api.call("GET", "/v1/conversations")
    assert answer["result"]["isError"] is True
    assert answer["result"]["structuredContent"]["code"] == code
    assert listed["items"] == [], "nothing is left behind"


async def test_a_request_that_is_none_is_a_problem_like_anywhere(tmp_path: Path) -> None:
    settings = GatewaySettings(max_body_bytes=2000, auth=AuthSettings(mode="api_key"))
    async with client(tmp_path, settings) as api:
        status, problem = await api.call("POST", "/mcp", json=a_call("ping"))
        assert (status, problem["code"]) == (401, "unauthenticated")
    async with client(tmp_path, GatewaySettings(max_body_bytes=2000)) as api:
        status, problem = await api.call("POST", "/mcp", data=b"{}", headers={"Content-Type": "text/plain"})
        assert (status, problem["code"]) == (415, "unsupported_media_type")
        status, problem = await api.call("POST", "/mcp", json=a_call("ping", x="y" * 3000))
        assert (status, problem["code"]) == (413, "body_too_large")
        for method in ("GET", "DELETE"):
            status, problem = await api.call(method, "/mcp")
            assert (status, problem["code"]) == (405, "method_not_allowed")


async def test_notifications_and_answers_are_taken_and_dropped(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for message in (
            {"jsonrpc": "2.0", "method": "notifications/initialized"},
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
            {"jsonrpc": "2.0", "id": 1, "result": {}},
        ):
            status, text = await api.call("POST", "/mcp", json=message)
            assert (status, text) == (202, "")


async def test_a_key_for_some_agents_asks_no_other(tmp_path: Path) -> None:
    async with keyed(tmp_path) as it:
        body = {"user": "ana", "tenant": "acme", "agents": ["owl"]}
        _, made = await it.api.call("POST", "/v1/admin/keys", json=body, headers=it.operator)
        mine = {**JSON, "x-api-key": made["secret"]}

        async def asked(**arguments: str) -> dict[str, Any]:
            call = a_call("tools/call", name="ask_team", arguments={"text": "say x", **arguments})
            _, answer = await it.api.call("POST", "/mcp", json=call, headers=mine)
            found: dict[str, Any] = answer["result"]["structuredContent"]
            return found

        assert (await asked())["agents"] == ["owl"]
        assert (await asked(agent="parrot"))["code"] == "forbidden"
        _, listed = await it.api.call("GET", "/v1/conversations", headers=mine)
        assert len(listed["items"]) == 1
