"""What a caller may get wrong: the protocol's error, on both HTTP bindings alike, and nothing stored."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.gateway.a2a.wire import BINDINGS, Caller, Refused, all_of, caller, message_of

NOWHERE = "t_0001M86T9CVR1PHB26W3R0NZGF47"


@pytest.fixture(params=BINDINGS)
async def on(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Caller]:
    async with caller(tmp_path, request.param) as made:
        yield made


async def refused(on: Caller, method: str, params: dict[str, Any], *, status: int, code: int, reason: str) -> Refused:
    with pytest.raises(Refused) as caught:
        await on.call(method, params)
    error = caught.value
    assert error.reason == reason, error
    assert error.code == code if on.binding == "jsonrpc" else error.status == status
    assert error.details[0]["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert error.details[0]["domain"] == "a2a-protocol.org"
    assert all(isinstance(value, str) for value in error.details[0].get("metadata", {}).values())
    return error


def without(name: str) -> dict[str, Any]:
    params = message_of("hi")
    del params["message"][name]
    return params


@pytest.mark.parametrize(
    ("params", "field"),
    [
        (without("messageId"), "message.messageId"),
        (without("role"), "message.role"),
        (without("parts"), "message.parts"),
        ({}, "message"),
        (message_of("hi", role="ROLE_ROBOT"), "message.role"),
        (message_of("hi", role="user"), "message.role"),
        (message_of("hi", parts=[{}]), "message.parts[0]"),
        (message_of("hi", parts=[{"text": "  "}]), "message.parts"),
        (message_of("hi", parts=[{"text": "a\0b"}]), "message.parts"),
        (message_of("hi", parts=[{"text": "x"}] * 101), "message.parts"),
        (message_of("hi", parts=[{"text": "x" * 32_001}]), "message.parts"),
        (message_of("hi", parts=[{"text": "x" * 16_000}] * 2 + [{"text": "y"}]), "message.parts"),
        (message_of("hi", messageId="m" * 300), "message.messageId"),
        (message_of("hi", contextId="c\n"), "message.contextId"),
        (message_of("hi", config={"historyLength": -1}), "historyLength"),
        (message_of("hi", contextId="c_0001M86T9CVR1PHB26W3R0NZGF47"), "message.contextId"),
    ],
)
async def test_a_field_that_is_wrong_is_named(on: Caller, params: dict[str, Any], field: str) -> None:
    error = await refused(on, "SendMessage", params, status=400, code=-32602, reason="INVALID_PARAMS")
    assert [violation["field"] for violation in error.details[1]["fieldViolations"]] == [field]
    assert (await on.call("ListTasks", {}))["totalSize"] == 0


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("GetTask", {"id": NOWHERE}),
        ("GetTask", {"id": "no id of ours"}),
        ("CancelTask", {"id": NOWHERE}),
        ("SendMessage", message_of("hi", taskId=NOWHERE)),
        ("SendMessage", message_of("hi", tenant="nobody")),
        ("GetTask", {"id": NOWHERE, "tenant": "nobody"}),
        ("GetTaskPushNotificationConfig", {"taskId": NOWHERE, "id": "w"}),
        ("ListTaskPushNotificationConfigs", {"taskId": NOWHERE}),
        ("DeleteTaskPushNotificationConfig", {"taskId": NOWHERE, "id": "w"}),
        ("CreateTaskPushNotificationConfig", {"taskId": NOWHERE, "url": "https://example.com/"}),
    ],
)
async def test_what_is_not_there_is_not_found(on: Caller, method: str, params: dict[str, Any]) -> None:
    await refused(on, method, params, status=404, code=-32001, reason="TASK_NOT_FOUND")


@pytest.mark.parametrize("method", ["SubscribeToTask"])
async def test_a_stream_of_nothing_is_refused_before_it_begins(on: Caller, method: str) -> None:
    with pytest.raises(Refused) as caught:
        await all_of(on.stream(method, {"id": NOWHERE}))
    assert caught.value.reason == "TASK_NOT_FOUND"


@pytest.mark.parametrize(
    "parts",
    [
        [{"text": "hi", "mediaType": "text/html"}],
        [{"raw": "AAAA", "mediaType": "video/mp4"}],
        [{"url": "https://example.com/a.zip", "mediaType": "application/zip"}],
    ],
)
async def test_a_part_that_the_agent_does_not_take_is_refused(on: Caller, parts: list[Any]) -> None:
    params = message_of("", parts=parts)
    await refused(on, "SendMessage", params, status=400, code=-32005, reason="CONTENT_TYPE_NOT_SUPPORTED")


async def test_a_caller_that_takes_no_answer_of_ours_is_told(on: Caller) -> None:
    params = message_of("hi", config={"acceptedOutputModes": ["video/mp4"]})
    await refused(on, "SendMessage", params, status=400, code=-32005, reason="CONTENT_TYPE_NOT_SUPPORTED")


async def test_a_body_that_is_no_json_type_is_refused(on: Caller) -> None:
    with_type = on.having(**{"Content-Type": "text/plain"})
    await refused(
        with_type, "SendMessage", message_of("hi"), status=400, code=-32005, reason="CONTENT_TYPE_NOT_SUPPORTED"
    )


@pytest.mark.parametrize("version", ["1.1", "1.9", "2.0", "0.2", "abc", "1", "1.0.0.0"])
async def test_a_version_that_is_not_spoken_is_told(on: Caller, version: str) -> None:
    other = on.having(A2A_Version=version)
    await refused(other, "SendMessage", message_of("hi"), status=400, code=-32009, reason="VERSION_NOT_SUPPORTED")
    await refused(other, "GetTask", {"id": "x"}, status=400, code=-32009, reason="VERSION_NOT_SUPPORTED")


async def test_no_version_means_0_3_and_that_has_no_such_method(on: Caller) -> None:
    await refused(
        on.having(A2A_Version=""), "SendMessage", message_of("hi"), status=400, code=-32009,
        reason="VERSION_NOT_SUPPORTED",
    )  # fmt: skip


async def test_without_the_0_3_layer_no_version_is_not_supported(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc", speaks_0_3=False) as on:
        for method in ("SendMessage", "message/send"):
            with pytest.raises(Refused) as caught:
                await on.having(A2A_Version="").call(method, message_of("hi"))
            assert caught.value.code == -32009


@pytest.mark.parametrize("version", ["1.0", "1.0.1"])
async def test_the_version_may_stand_in_the_query_and_have_a_patch(tmp_path: Path, version: str) -> None:
    async with caller(tmp_path, "rest") as on:
        url = f"{on.url}/a2a/rest/tasks"
        async with on.session.get(url, params={"A2A-Version": version}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("binding", BINDINGS)
async def test_an_extension_that_is_required_must_be_named(tmp_path: Path, binding: str) -> None:
    uri = "https://example.com/extensions/trace/v1"
    async with caller(tmp_path, binding, required_extensions=(uri,)) as on:
        await refused(on, "SendMessage", message_of("hi"), status=400, code=-32008, reason="EXTENSION_SUPPORT_REQUIRED")
        named = on.having(A2A_Extensions=f"https://example.com/other, {uri}")
        assert (await named.task("hi"))["status"]["state"] == "TASK_STATE_COMPLETED"
        async with on.session.get(f"{on.url}/.well-known/agent-card.json") as answer:
            extensions = (await answer.json())["capabilities"]["extensions"]
            assert [one for one in extensions if one.get("required")] == [{"uri": uri, "required": True}]


async def test_an_unknown_extension_is_ignored(on: Caller) -> None:
    assert await on.having(A2A_Extensions="https://example.com/other").task("hi")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 101}, "pageSize"),
        ({"pageSize": -5}, "pageSize"),
        ({"pageToken": "nonsense"}, "pageToken"),
        ({"status": "TASK_STATE_LAZY"}, "status"),
        ({"historyLength": -1}, "historyLength"),
    ],
)
async def test_a_list_that_is_asked_for_wrongly(on: Caller, params: dict[str, Any], field: str) -> None:
    error = await refused(on, "ListTasks", params, status=400, code=-32602, reason="INVALID_PARAMS")
    assert error.details[1]["fieldViolations"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "code", "request_id"),
    [
        (b"{", -32700, None),
        (b"\xff\xfe", -32700, None),
        (b"[" * 100_000, -32700, None),
        (b"[]", -32600, None),
        (b"null", -32600, None),
        (b'{"jsonrpc":"1.0","id":1,"method":"GetTask"}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":true,"method":"GetTask"}', -32600, None),
        (b'{"jsonrpc":"2.0","id":1}', -32600, 1),
        (b'{"jsonrpc":"2.0","id":"a","method":"Nope"}', -32601, "a"),
        (b'{"jsonrpc":"2.0","id":1,"method":"message/send"}', -32601, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":[1]}', -32602, 1),
        (b'{"jsonrpc":"2.0","id":1,"method":"GetTask","params":{"id":7}}', -32602, 1),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ListTasks"}]', -32600, None),
    ],
)
async def test_a_malformed_envelope_is_jsonrpcs_error(
    tmp_path: Path, body: bytes, code: int, request_id: object
) -> None:
    async with caller(tmp_path, "jsonrpc") as on:
        headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
        async with on.session.post(f"{on.url}/a2a", data=body, headers=headers) as answer:
            told = json.loads(await answer.read())
            assert (answer.status, told["error"]["code"], told.get("id")) == (200, code, request_id)


async def test_a_malformed_body_over_rest_is_an_invalid_argument(tmp_path: Path) -> None:
    async with caller(tmp_path, "rest") as on:
        headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
        for body in (b"{", b"\xff", b"[" * 50_000, b"[]", b'{"message": 7}'):
            async with on.session.post(f"{on.url}/a2a/rest/message:send", data=body, headers=headers) as answer:
                told = json.loads(await answer.read())
                assert (answer.status, told["error"]["status"]) == (400, "INVALID_ARGUMENT"), body


async def test_a_body_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc", max_body_bytes=2000, max_file_body_bytes=4000) as on:
        headers = {"Content-Type": "application/json", "A2A-Version": "1.0"}
        async with on.session.post(f"{on.url}/a2a", data=b" " * 5000, headers=headers) as answer:
            assert answer.status == 413

        async def undeclared() -> AsyncIterator[bytes]:
            yield b" " * 3000

        async with on.session.post(f"{on.url}/a2a", data=undeclared(), headers=headers) as answer:
            assert answer.status == 413


async def test_paths_and_verbs_that_are_not_there(tmp_path: Path) -> None:
    async with caller(tmp_path, "rest") as on:
        for path, status in (("/a2a/nope", 404), ("/a2a/rest/nope", 404), ("/a2a/rest/a/b/c", 404), ("/a2a", 405)):
            async with on.session.get(on.url + path, headers=on.headers) as answer:
                assert (answer.status, (await answer.json())["error"]["code"]) == (status, status), path


async def test_an_address_inside_is_refused_as_a_webhook(tmp_path: Path) -> None:
    async with caller(tmp_path, "jsonrpc") as on:
        task = await on.task("hi")
        for url in ("http://10.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "ftp://a.example/", "x"):
            with pytest.raises(Refused) as caught:
                await on.call("CreateTaskPushNotificationConfig", {"taskId": task["id"], "url": url})
            assert caught.value.code == -32602
            config = {"taskPushNotificationConfig": {"url": url}}
            with pytest.raises(Refused):
                await on.send("hi", config=config)
        assert (await on.call("ListTasks", {}))["totalSize"] == 1


async def test_a_key_that_was_used_with_another_message_is_refused(on: Caller) -> None:
    keyed = on.having(Idempotency_Key="one")
    first = await keyed.task("hi")
    assert (await keyed.task("hi"))["id"] == first["id"]
    with pytest.raises(Refused):
        await keyed.task("something else")
    assert (await on.call("ListTasks", {}))["totalSize"] == 1


async def test_without_the_extra_every_request_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "ngx_agents.gateway.a2a.edge", raising=False)
    monkeypatch.setitem(sys.modules, "a2a.server.routes.jsonrpc_dispatcher", None)
    async with caller(tmp_path, "rest") as on, aiohttp.ClientSession() as session:
        async with session.get(f"{on.url}/.well-known/agent-card.json") as answer:
            assert answer.status == 503
            assert "ngx-agents[a2a]" in (await answer.json())["error"]["message"]
        async with session.get(f"{on.url}/livez") as answer:
            assert answer.status == 200
