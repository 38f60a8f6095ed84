"""A2A 0.3 as it is on the wire, over HTTP+JSON, gRPC and JSON-RPC: files, streams, webhooks, errors."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2, a2a_v0_3_pb2_grpc

from ngx_agents.agents.test_agent import WithTestAgent
from ngx_agents.gateway.a2a.door import A2aDoor
from ngx_agents.gateway.a2a.grpc_server import GrpcServer, GrpcSettings
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.resilience.modes import Mode
from tests.gateway.a2a.wire import NamedTeam, a2a_settings, deps_of
from tests.gateway.serving import House, house, served

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
RAW = base64.b64encode(PNG).decode()
JSON = {"Content-Type": "application/json"}


class Older:
    """`url` speaks HTTP, `rpc` gRPC; the scripted team answers unless the test agent is the default."""

    def __init__(self, made: House, team: NamedTeam, url: str, rpc: str, session: aiohttp.ClientSession) -> None:
        self.made, self.team, self.url, self.rpc, self.session = made, team, url, rpc, session

    async def rest(self, verb: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            verb, f"{self.url}/a2a/rest/v1{path}", data=data, headers=JSON if data else {}
        ) as answer:
            told = await answer.read()
            assert int(answer.headers.get("Content-Length", len(told))) == len(told)
            return answer.status, json.loads(told) if told else None

    async def send(self, text: str, *parts: dict[str, Any], **more: Any) -> tuple[int, Any]:
        message = {"messageId": "m-1", "role": "ROLE_USER", "content": [{"text": text}, *parts], **more}
        return await self.rest("POST", "/message:send", {"request": message, "configuration": {"blocking": True}})


@asynccontextmanager
async def older(path: Path, **more: Any) -> AsyncIterator[Older]:
    team, gateway = NamedTeam(), GatewaySettings()
    async with house(path, team=WithTestAgent(team)) as made:
        settings = a2a_settings(**more)
        deps = deps_of(made, settings)
        auth = Authenticator(gateway.auth, journal=deps.journal, clock=deps.clock)
        listening = GrpcSettings(host="127.0.0.1", port=0)
        async with (
            GrpcServer(A2aDoor(deps, settings, deps.guard, auth), auth, settings, listening) as rpc,
            served(create_app(deps, gateway)) as url,
            aiohttp.ClientSession() as session,
        ):
            yield Older(made, team, url, f"127.0.0.1:{rpc.port}", session)


@pytest.fixture
async def a(tmp_path: Path) -> AsyncIterator[Older]:
    async with older(tmp_path, default_agent=None) as made:
        yield made


@pytest.fixture
async def tested(tmp_path: Path) -> AsyncIterator[Older]:
    async with older(tmp_path) as made:
        yield made


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({}, "InvalidParamsError"),
        ({"request": {"messageId": "m-1", "role": "ROLE_USER", "content": []}}, "InvalidParamsError"),
        ({"request": {"messageId": "m-1", "role": "ROLE_USER", "content": [{"text": " "}]}}, "InvalidParamsError"),
        ("{", "JSONParseError"),
    ],
)
async def test_bad_input_is_told_in_the_words_of_0_3(a: Older, body: Any, error: str) -> None:
    data = body if isinstance(body, str) else json.dumps(body)
    async with a.session.post(f"{a.url}/a2a/rest/v1/message:send", data=data, headers=JSON) as answer:
        told = json.loads(await answer.read())
    assert (answer.status, told["type"], told["error"]["code"]) == (400, error, 400)
    assert told["message"] == told["error"]["message"]


async def test_what_is_not_there_is_told_by_its_name(a: Older) -> None:
    for verb, path in (
        ("GET", "/tasks/nothing"),
        ("POST", "/tasks/nothing:cancel"),
        ("GET", "/tasks/nothing:subscribe"),
    ):
        status, told = await a.rest(verb, path, {} if verb == "POST" else None)
        assert (status, told["type"]) == (404, "TaskNotFoundError"), path


async def test_when_no_turns_are_taken_the_body_says_what_the_status_says(a: Older) -> None:
    a.made.modes.force(Mode.READ_ONLY, by="test", reason="test")
    status, told = await a.send("hi")
    assert (status, told["error"]["code"], told["error"]["status"]) == (503, 503, "UNAVAILABLE")
    message = {"messageId": "m-1", "role": "ROLE_USER", "parts": [{"text": "hi"}]}
    headers = {**JSON, "A2A-Version": "1.0"}
    for call in ("send", "stream"):
        data = json.dumps({"message": message})
        async with a.session.post(f"{a.url}/a2a/rest/message:{call}", data=data, headers=headers) as answer:
            told = json.loads(await answer.read())
        assert (answer.status, told["error"]["code"], told["error"]["status"]) == (503, 503, "UNAVAILABLE")
        assert int(answer.headers["Retry-After"]) > 0
        assert "type" not in told
        assert told["error"]["details"][0]["metadata"]["code"] == "read_only"


async def test_a_file_is_shown_over_every_binding(a: Older) -> None:
    part = {"file": {"fileWithBytes": RAW, "mimeType": "image/png", "name": "plate.png"}}
    status, told = await a.send("look", part)
    assert (status, told["task"]["status"]["state"]) == (200, "TASK_STATE_COMPLETED")
    said = [{"kind": "text", "text": "look"}, {"kind": "file", "file": {"bytes": RAW, "mimeType": "image/png"}}]
    asked = {"message": {"kind": "message", "messageId": "m-2", "role": "user", "parts": said}}
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": asked})
    async with a.session.post(f"{a.url}/a2a", data=call, headers=JSON) as answer:
        assert (await answer.json())["result"]["status"]["state"] == "completed"
    file = a2a_v0_3_pb2.FilePart(file_with_bytes=PNG, mime_type="image/png")
    message = a2a_v0_3_pb2.Message(
        message_id="m-3", role=a2a_v0_3_pb2.ROLE_USER,
        content=[a2a_v0_3_pb2.Part(text="look"), a2a_v0_3_pb2.Part(file=file)],
    )  # fmt: skip
    async with grpc.aio.insecure_channel(a.rpc) as channel:
        request = a2a_v0_3_pb2.SendMessageRequest(request=message, configuration={"blocking": True})
        done = await a2a_v0_3_pb2_grpc.A2AServiceStub(channel).SendMessage(request)
    assert done.task.status.state == a2a_v0_3_pb2.TASK_STATE_COMPLETED
    assert [[one.data for one in task.attachments] for task in a.team.tasks] == [[PNG]] * 3


async def test_a_file_that_is_not_what_it_says_is_refused_over_every_binding(a: Older) -> None:
    part = {"file": {"fileWithBytes": RAW, "mimeType": "image/jpeg"}}
    status, told = await a.send("look", part)
    assert (status, told["type"]) == (400, "InvalidParamsError")
    file = a2a_v0_3_pb2.FilePart(file_with_bytes=PNG, mime_type="image/jpeg")
    message = a2a_v0_3_pb2.Message(message_id="m", role=a2a_v0_3_pb2.ROLE_USER, content=[{"file": file}])
    async with grpc.aio.insecure_channel(a.rpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await a2a_v0_3_pb2_grpc.A2AServiceStub(channel).SendMessage(
                a2a_v0_3_pb2.SendMessageRequest(request=message)
            )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert a.team.tasks == []


async def test_a_stream_tells_the_task_its_text_and_its_end(tested: Older) -> None:
    message = {"messageId": "m-1", "role": "ROLE_USER", "content": [{"text": "chunks 3"}]}
    place, data = f"{tested.url}/a2a/rest/v1/message:stream", json.dumps({"request": message})
    async with tested.session.post(place, data=data, headers=JSON) as answer:
        assert answer.content_type == "text/event-stream"
        events = [json.loads(line[6:]) async for line in answer.content if line.startswith(b"data: ")]
    assert "task" in events[0]
    pieces = [event["artifactUpdate"]["artifact"]["parts"][0]["text"] for event in events if "artifactUpdate" in event]
    assert pieces[-1] == "piece 1. piece 2. piece 3. "
    last = events[-1]["statusUpdate"]
    assert (last["status"]["state"], last["final"]) == ("TASK_STATE_COMPLETED", True)


async def test_webhooks_are_set_listed_and_deleted(tested: Older) -> None:
    _, told = await tested.send("echo x")
    place = f"/tasks/{told['task']['id']}/pushNotificationConfigs"
    config = {"name": "", "pushNotificationConfig": {"id": "mine", "url": "http://127.0.0.1:9/hook"}}
    status, made = await tested.rest("POST", place, {"parent": place[1:], "configId": "mine", "config": config})
    assert (status, made["pushNotificationConfig"]["url"]) == (200, "http://127.0.0.1:9/hook")
    status, found = await tested.rest("GET", f"{place}/mine")
    assert (status, found["pushNotificationConfig"]["id"]) == (200, "mine")
    status, listed = await tested.rest("GET", place)
    assert (status, len(listed["configs"])) == (200, 1)
    assert (await tested.rest("DELETE", f"{place}/mine"))[0] == 204
    status, listed = await tested.rest("GET", place)
    assert (status, listed.get("configs", [])) == (200, [])
    assert (await tested.rest("DELETE", "/tasks/nothing/pushNotificationConfigs/mine"))[1][
        "type"
    ] == "TaskNotFoundError"
