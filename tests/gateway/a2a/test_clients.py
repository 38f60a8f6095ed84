"""The SDK's own client against every binding, of 1.0 and of 0.3; gRPC's errors and metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    a2a_pb2_grpc,
)
from a2a.utils.errors import TaskNotCancelableError, TaskNotFoundError
from google.rpc import error_details_pb2, status_pb2

from ngx_agents.agents.test_agent import WithTestAgent
from ngx_agents.gateway.a2a.door import A2aDoor
from ngx_agents.gateway.a2a.grpc_server import GrpcServer, GrpcSettings
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.a2a.wire import NamedTeam, a2a_settings, deps_of
from tests.gateway.serving import house, served

WAYS = [("JSONRPC", "1.0"), ("HTTP+JSON", "1.0"), ("GRPC", "1.0"), ("JSONRPC", "0.3")]


@asynccontextmanager
async def everything(path: Path, auth: AuthSettings | None = None, **more: Any) -> AsyncIterator[tuple[str, str]]:
    """The addresses of the HTTP edge and of the gRPC server."""
    gateway = GatewaySettings(auth=auth or AuthSettings())
    async with house(path, team=WithTestAgent(NamedTeam())) as made:
        settings = a2a_settings(**more)
        deps = deps_of(made, settings)
        authenticator = Authenticator(gateway.auth, journal=deps.journal, clock=deps.clock)
        door = A2aDoor(deps, settings, deps.guard, authenticator)
        listening = GrpcSettings(host="127.0.0.1", port=0, http_url="http://127.0.0.1:8000")
        async with (
            GrpcServer(door, authenticator, settings, listening) as rpc,
            served(create_app(deps, gateway)) as url,
        ):
            yield url, f"127.0.0.1:{rpc.port}"


@pytest.fixture(params=WAYS, ids="/".join)
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    binding, version = request.param
    async with everything(tmp_path) as (url, rpc), httpx.AsyncClient() as http:
        card = AgentCard()
        from google.protobuf.json_format import ParseDict

        told = (await http.get(f"{url}/.well-known/agent-card.json")).json()
        ParseDict(told, card, ignore_unknown_fields=True)
        card.supported_interfaces.add(url=rpc, protocol_binding="GRPC", protocol_version="1.0")
        chosen = [
            one for one in card.supported_interfaces
            if (one.protocol_binding, one.protocol_version) == (binding, version)
        ]  # fmt: skip
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(chosen)
        config = ClientConfig(
            httpx_client=http,
            grpc_channel_factory=grpc.aio.insecure_channel,
            supported_protocol_bindings=[binding],
        )
        async with await create_client(card, config) as made:
            yield made


def message(text: str, **more: Any) -> SendMessageRequest:
    said = Message(message_id="m-1", role=Role.ROLE_USER, parts=[Part(text=text)], **more)
    return SendMessageRequest(message=said)


async def sent(client: Client, request: SendMessageRequest) -> Task:
    """The task when it has ended, whatever the client makes of the stream."""
    task_id = ""
    async for event in client.send_message(request):
        task_id = task_id or event.task.id or event.status_update.task_id
    return await client.get_task(GetTaskRequest(id=task_id))


async def test_tasks_are_begun_read_and_continued(client: Client) -> None:
    done = await sent(client, message("chunks 3"))
    assert done.status.state == TaskState.TASK_STATE_COMPLETED
    assert done.artifacts[0].parts[0].text == "piece 1. piece 2. piece 3. "
    asked = await sent(client, message("input"))
    assert asked.status.state == TaskState.TASK_STATE_INPUT_REQUIRED
    again = await sent(client, message("blue", task_id=asked.id, context_id=asked.context_id))
    assert (again.id, again.status.state) == (asked.id, TaskState.TASK_STATE_COMPLETED)


async def test_a_message_comes_without_a_task(client: Client) -> None:
    events = [event async for event in client.send_message(message("message hello"))]
    assert [event.message.parts[0].text for event in events] == ["hello"]


async def test_errors_come_as_the_sdks_own(client: Client) -> None:
    with pytest.raises(TaskNotFoundError):
        await client.get_task(GetTaskRequest(id="nothing"))
    done = await sent(client, message("echo x"))
    with pytest.raises(TaskNotCancelableError):
        await client.cancel_task(CancelTaskRequest(id=done.id))


async def test_a_running_task_is_heard_and_cancelled(client: Client) -> None:
    request = message("slow 30")
    request.configuration.CopyFrom(SendMessageConfiguration(return_immediately=True))
    task_id = ""
    async for event in client.send_message(request):
        task_id = event.task.id or event.status_update.task_id
        break
    listening = client.subscribe(SubscribeToTaskRequest(id=task_id))
    first = await anext(listening)
    assert first.task.id == task_id
    cancelled = await client.cancel_task(CancelTaskRequest(id=task_id))
    assert cancelled.status.state == TaskState.TASK_STATE_CANCELED
    states = [event.status_update.status.state async for event in listening if event.HasField("status_update")]
    assert states[-1] == TaskState.TASK_STATE_CANCELED


async def test_webhook_configs(client: Client) -> None:
    done = await sent(client, message("echo x"))
    config = TaskPushNotificationConfig(task_id=done.id, id="mine", url="http://127.0.0.1:9/hook", token="secret")
    made = await client.create_task_push_notification_config(config)
    assert (made.id, made.url, made.token) == ("mine", config.url, "secret")
    place = GetTaskPushNotificationConfigRequest(task_id=done.id, id="mine")
    assert (await client.get_task_push_notification_config(place)).url == config.url
    listed = await client.list_task_push_notification_configs(ListTaskPushNotificationConfigsRequest(task_id=done.id))
    assert [one.id for one in listed.configs] == ["mine"]
    await client.delete_task_push_notification_config(
        DeleteTaskPushNotificationConfigRequest(task_id=done.id, id="mine")
    )


async def test_lists_and_the_extended_card(tmp_path: Path) -> None:
    async with everything(tmp_path) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        version = (("a2a-version", "1.0"),)
        for number in range(3):
            await stub.SendMessage(message(f"echo {number}"), metadata=version)
        page = await stub.ListTasks(ListTasksRequest(page_size=2), metadata=version)
        assert (len(page.tasks), page.total_size, page.page_size) == (2, 3, 2)
        card = await stub.GetExtendedAgentCard(GetExtendedAgentCardRequest(), metadata=version)
        assert {skill.id for skill in card.skills} >= {"chunks", "input"}
        assert card.supported_interfaces[0].url == "http://127.0.0.1:8000/a2a"


def reason_of(error: grpc.aio.AioRpcError) -> str:
    status = status_pb2.Status()
    status.ParseFromString(dict(error.trailing_metadata() or ())["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    assert info.domain == "a2a-protocol.org"
    return info.reason


@pytest.mark.parametrize(
    ("metadata", "request_", "code", "reason"),
    [
        ((), message("hi"), "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
        ((("a2a-version", "1.9"),), message("hi"), "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"),
        ((("a2a-version", "1.0"),), message("hi", task_id="nothing"), "NOT_FOUND", "TASK_NOT_FOUND"),
        ((("a2a-version", "1.0"),), SendMessageRequest(), "INVALID_ARGUMENT", "INVALID_PARAMS"),
        ((("a2a-version", "1.0"),), message(" "), "INVALID_ARGUMENT", "INVALID_PARAMS"),
    ],
)
async def test_grpc_refuses_in_its_own_words(
    tmp_path: Path, metadata: Any, request_: SendMessageRequest, code: str, reason: str
) -> None:
    async with everything(tmp_path) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.SendMessage(request_, metadata=metadata)
        assert (caught.value.code().name, reason_of(caught.value)) == (code, reason)
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in stub.SendStreamingMessage(request_, metadata=metadata):
                pass


async def test_grpc_asks_who_calls_and_for_required_extensions(tmp_path: Path) -> None:
    auth = AuthSettings(mode="api_key")
    async with everything(tmp_path, auth) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await a2a_pb2_grpc.A2AServiceStub(channel).SendMessage(message("hi"), metadata=(("a2a-version", "1.0"),))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    (tmp_path / "more").mkdir()
    async with (
        everything(tmp_path / "more", required_extensions=("https://e.example/1",)) as (_, rpc),
        grpc.aio.insecure_channel(rpc) as channel,
    ):
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.SendMessage(message("hi"), metadata=(("a2a-version", "1.0"),))
        assert reason_of(caught.value) == "EXTENSION_SUPPORT_REQUIRED"
        named = (("a2a-version", "1.0"), ("a2a-extensions", "https://e.example/1"))
        assert (await stub.SendMessage(message("hi"), metadata=named)).task.id
