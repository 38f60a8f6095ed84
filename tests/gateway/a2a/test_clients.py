"""The SDK's own client against every binding, of 1.0 and of 0.3; gRPC's errors and metadata."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
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
from ngx_agents.gateway.a2a.grpc_door import address_of
from ngx_agents.gateway.a2a.grpc_server import GrpcServer, GrpcSettings
from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.auth import Authenticator
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.a2a.wire import NamedTeam, a2a_settings, deps_of
from tests.gateway.serving import house, served

WAYS = [
    ("JSONRPC", "1.0"),
    ("HTTP+JSON", "1.0"),
    ("GRPC", "1.0"),
    ("JSONRPC", "0.3"),
    ("HTTP+JSON", "0.3"),
    ("GRPC", "0.3"),
]


@asynccontextmanager
async def everything(
    path: Path, auth: AuthSettings | None = None, grpc_more: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[tuple[str, str]]:
    """The addresses of the HTTP edge and of the gRPC server."""
    gateway = GatewaySettings(auth=auth or AuthSettings())
    async with house(path, team=WithTestAgent(NamedTeam())) as made:
        settings = a2a_settings(**more)
        deps = deps_of(made, settings)
        authenticator = Authenticator(gateway.auth, journal=deps.journal, clock=deps.clock)
        door = A2aDoor(deps, settings, deps.guard, authenticator)
        listening = GrpcSettings(host="127.0.0.1", port=0, http_url="http://127.0.0.1:8000", **(grpc_more or {}))
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
        for spoken in ("1.0", "0.3"):
            card.supported_interfaces.add(url=rpc, protocol_binding="GRPC", protocol_version=spoken)
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


async def test_webhook_configs(client: Client, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.id == "HTTP+JSON/0.3":
        pytest.skip("the SDK's client of 0.3 over HTTP+JSON lists and deletes none: test_older asks for itself")
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


VERSION = ("a2a-version", "1.0")
PROXY = {"trusted_proxies": (ip_network("127.0.0.1"),)}


async def told_of(stub: a2a_pb2_grpc.A2AServiceStub, key: str, caller: str) -> str:
    """The name of the status that a listing gets."""
    metadata = (VERSION, ("x-api-key", key), ("x-forwarded-for", caller))
    try:
        await stub.ListTasks(ListTasksRequest(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    return "OK"


async def test_grpc_counts_guesses_by_the_callers_address(tmp_path: Path) -> None:
    auth = AuthSettings(mode="api_key")
    async with everything(tmp_path, auth, PROXY) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        told = [await told_of(stub, new_api_key()[0], "203.0.113.6") for _ in range(25)]
        assert told == ["UNAUTHENTICATED"] * 20 + ["RESOURCE_EXHAUSTED"] * 5
        assert await told_of(stub, new_api_key()[0], "203.0.113.7") == "UNAUTHENTICATED"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for _ in stub.SendStreamingMessage(message("hi"), metadata=(VERSION,)):
                pass
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_who_is_no_trusted_proxy_is_not_believed_of_the_callers_address(tmp_path: Path) -> None:
    auth = AuthSettings(mode="api_key")
    async with everything(tmp_path, auth) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        told = [await told_of(stub, new_api_key()[0], f"203.0.113.{number}") for number in range(25)]
        assert told == ["UNAUTHENTICATED"] * 20 + ["RESOURCE_EXHAUSTED"] * 5


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("ipv4:192.0.2.1:50051", b"", "192.0.2.1"),
        ("ipv4:192.0.2.1:50051", b"203.0.113.1", "192.0.2.1"),
        ("ipv6:%5B2001:db8::1%5D:50051", b"", "2001:db8::1"),
        ("ipv4:127.0.0.1:50051", b"", "127.0.0.1"),
        ("ipv4:127.0.0.1:50051", b"198.51.100.9, 203.0.113.1", "203.0.113.1"),
        ("ipv4:127.0.0.1:50051", b"203.0.113.1, 127.0.0.1", "203.0.113.1"),
        ("ipv4:127.0.0.1:50051", b"nonsense", "nonsense"),
        ("unix:/tmp/socket", b"", "unix:/tmp/socket"),
    ],
)
def test_a_peer_is_read_as_its_address(peer: str, forwarded: bytes, address: str) -> None:
    assert address_of(peer, forwarded, PROXY["trusted_proxies"]) == address


async def test_grpc_refuses_more_calls_at_once_and_larger_metadata_than_it_bears(tmp_path: Path) -> None:
    bounds = {"max_calls": 2, "max_header_bytes": 4_096}
    async with everything(tmp_path, None, bounds) as (_, rpc), grpc.aio.insecure_channel(rpc) as channel:
        stub = a2a_pb2_grpc.A2AServiceStub(channel)
        streams = [stub.SendStreamingMessage(message("slow 20"), metadata=(VERSION,)) for _ in range(2)]
        for stream in streams:
            await stream.read()
        assert await told_of(stub, "none", "") == "RESOURCE_EXHAUSTED"
        for stream in streams:
            stream.cancel()
        for _ in range(200):
            if (told := await told_of(stub, "none", "")) == "OK":
                break
            await asyncio.sleep(0.05)
        assert told == "OK"
        assert await told_of(stub, "x" * 8_000, "") == "RESOURCE_EXHAUSTED"
