"""The MCP SDK's own client against the edge, over the wire, in the newest version and with the handshake before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from mcp.client import Client as McpClient
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError

from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.resilience.modes import Mode
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import Client, client

SECRET = "s" * 32
MODES = ["auto", "legacy"]
pytestmark = pytest.mark.parametrize("mode", MODES)


@asynccontextmanager
async def both(path: Path, mode: Any, **more: Any) -> AsyncIterator[tuple[McpClient, Client]]:
    async with client(path, **more) as api, McpClient(f"{api.url}/mcp", mode=mode) as mcp:
        yield mcp, api


async def test_the_client_sees_the_tools_and_asks_the_team(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, api):
        tools = (await mcp.list_tools()).tools
        answer = await mcp.call_tool("ask_team", {"text": "say hola |mundo", "locale": "es-MX"})
        found = answer.structured_content
        _, page = await api.call("GET", f"/v1/conversations/{found['conversation_id']}/messages")
    assert [tool.name for tool in tools] == [
        "ask_team", "list_agents", "list_conversations", "read_conversation", "read_profile", "list_artifacts",
        "read_artifact",
    ]  # fmt: skip
    assert all(tool.input_schema["type"] == "object" and tool.description for tool in tools)
    assert answer.content[0].text == "hola mundo"
    assert not answer.is_error
    assert (found["status"], found["source"], found["agents"], found["degraded"]) == (
        "completed", "model", ["parrot"], False,
    )  # fmt: skip
    assert [message["text"] for message in page["items"]] == ["say hola |mundo", "hola mundo"]


async def test_a_conversation_goes_on_and_can_be_read(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, _):
        first = (await mcp.call_tool("ask_team", {"text": "say one", "agent": "owl"})).structured_content
        again = {"text": "recall", "conversation_id": first["conversation_id"]}
        second = await mcp.call_tool("ask_team", again)
        listed = (await mcp.call_tool("list_conversations", {})).structured_content
        read = (
            await mcp.call_tool("read_conversation", {"conversation_id": first["conversation_id"]})
        ).structured_content
    assert first["agents"] == ["owl"]
    assert second.content[0].text == "user: say one / assistant: one"
    assert [each["id"] for each in listed["items"]] == [first["conversation_id"]]
    assert [each["text"] for each in read["items"]][:2] == ["say one", "one"]


async def test_artifacts_profile_and_agents(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, api):
        await api.call("PUT", "/v1/me/profile", json={"age": 40})
        made = (await mcp.call_tool("ask_team", {"text": "artifact Week"})).structured_content["artifacts"]
        listed = (await mcp.call_tool("list_artifacts", {})).structured_content["items"]
        one = (await mcp.call_tool("read_artifact", {"artifact_id": made[0]["id"]})).structured_content
        profile = (await mcp.call_tool("read_profile", {})).structured_content
        agents = (await mcp.call_tool("list_agents", {})).structured_content
    assert [(each["kind"], each["title"], each["data"]) for each in made] == [("Plan", "Week", {"days": 3})]
    assert [each["id"] for each in listed] == [made[0]["id"]]
    assert one["data"] == {"days": 3}
    assert profile["age"] == 40
    assert [each["id"] for each in agents["agents"]] == ["parrot", "owl"]


async def test_progress_is_told_while_the_answer_is_made(tmp_path: Path, mode: str) -> None:
    heard: list[tuple[float, str | None]] = []

    async def listen(progress: float, total: float | None, message: str | None) -> None:
        heard.append((progress, message))

    async with both(tmp_path, mode) as (mcp, _):
        await mcp.call_tool("ask_team", {"text": "say hola |mundo"}, progress_callback=listen)
    assert "".join(message or "" for _, message in heard) == "parrothola mundo"
    assert [progress for progress, _ in heard] == sorted({progress for progress, _ in heard})


async def test_withdrawn_text_is_not_in_the_result(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, _):
        answer = await mcp.call_tool("ask_team", {"text": "withdraw wrong|right"})
    assert answer.content[0].text == "right"


async def test_a_turn_that_fails_is_an_error_the_model_can_read(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, _):
        failed = await mcp.call_tool("ask_team", {"text": "fail"})
        broke = await mcp.call_tool("ask_team", {"text": "break"})
        with pytest.raises(MCPError):
            await mcp.call_tool("no_such_tool", {})
    assert failed.is_error
    assert failed.structured_content["code"] == "model_unavailable"
    assert "secret" not in str(broke)


async def test_many_calls_at_once_get_each_their_own_answer(tmp_path: Path, mode: str) -> None:
    async with both(tmp_path, mode) as (mcp, _):
        answers = await asyncio.gather(*(mcp.call_tool("ask_team", {"text": f"say n{number}"}) for number in range(20)))
    assert [answer.content[0].text for answer in answers] == [f"n{number}" for number in range(20)]


async def test_each_account_sees_only_its_own(tmp_path: Path, mode: str) -> None:
    settings = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=SECRET))
    async with client(tmp_path, settings) as api:

        @asynccontextmanager
        async def as_user(name: str) -> AsyncIterator[McpClient]:
            token = jwt.encode({"sub": name, "exp": 4_000_000_000}, SECRET, "HS256")
            async with (
                httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}) as http,
                McpClient(streamable_http_client(f"{api.url}/mcp", http_client=http), mode=mode) as mcp,
            ):
                yield mcp

        async with as_user("ana") as ana, as_user("ben") as ben:
            hers = (await ana.call_tool("ask_team", {"text": "artifact Mine"})).structured_content
            artifact_id = hers["artifacts"][0]["id"]
            refused = [
                await ben.call_tool("ask_team", {"text": "recall", "conversation_id": hers["conversation_id"]}),
                await ben.call_tool("read_artifact", {"artifact_id": artifact_id}),
            ]
            read = await ben.call_tool("read_conversation", {"conversation_id": hers["conversation_id"]})
            listed = (await ben.call_tool("list_conversations", {})).structured_content
    assert [answer.structured_content["code"] for answer in refused] == ["not_found", "not_found"]
    assert "artifact Mine" not in str(read)
    assert listed["items"] == []


async def test_a_server_that_takes_no_turns_says_when_to_come_back(tmp_path: Path, mode: str) -> None:
    from tests.gateway.serving import house, served

    async with (
        house(tmp_path, team=ScriptTeam()) as made,
        served(made.app) as url,
        McpClient(f"{url}/mcp", mode=mode) as mcp,
    ):
        made.modes.force(Mode.READ_ONLY, by="test", reason="test")
        answer = await mcp.call_tool("ask_team", {"text": "say hi"})
        assert (await mcp.call_tool("list_conversations", {})).structured_content["items"] == []
    assert answer.structured_content["code"] == "read_only"
    assert answer.structured_content["retry_after_s"] > 0
