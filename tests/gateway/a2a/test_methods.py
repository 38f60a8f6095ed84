"""Every method on both HTTP bindings: what is answered, in which order, and to whom."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ngx_agents.gateway.api_keys import new_api_key
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.commands import ApiKey, PutKey
from ngx_agents.state.model import Owner
from tests.gateway.a2a.wire import BINDINGS, Caller, Refused, all_of, caller, message_of, serving, states_in, text_in


@pytest.fixture(params=BINDINGS)
async def on(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Caller]:
    async with caller(tmp_path, request.param) as made:
        yield made


def state(task: dict[str, Any]) -> str:
    found: str = task["status"]["state"]
    return found.removeprefix("TASK_STATE_")


async def until(on: Caller, task_id: str, wanted: str) -> dict[str, Any]:
    for _ in range(400):
        task: dict[str, Any] = await on.call("GetTask", {"id": task_id})
        if state(task) == wanted:
            return task
        await asyncio.sleep(0.05)
    raise AssertionError(f"the task never became {wanted}")


async def test_a_message_becomes_a_task_with_its_answer_as_an_artifact(on: Caller) -> None:
    task = await on.task("echo hello", contextId="my own context")
    assert (state(task), task["contextId"]) == ("COMPLETED", "my own context")
    [answer] = task["artifacts"]
    assert answer["parts"] == [{"text": "hello", "mediaType": "text/plain"}]
    assert [message["taskId"] for message in task["history"]] == [task["id"]]
    assert task["status"]["timestamp"].endswith("Z")
    assert await on.call("GetTask", {"id": task["id"]}) == task


async def test_what_is_no_task_is_answered_with_a_message(on: Caller) -> None:
    told = await on.send("message hello")
    assert told["message"]["role"] == "ROLE_AGENT"
    assert told["message"]["parts"][0]["text"] == "hello"
    assert await all_of(on.stream("SendStreamingMessage", message_of("message hi"))) != []
    assert (await on.call("ListTasks", {}))["totalSize"] == 0


async def test_who_does_not_wait_gets_the_task_at_once(on: Caller) -> None:
    task = await on.task("slow 0.3", config={"returnImmediately": True})
    assert state(task) in ("SUBMITTED", "WORKING")
    assert "artifacts" not in task
    assert (await until(on, task["id"], "COMPLETED"))["artifacts"]


@pytest.mark.parametrize(
    ("text", "wanted", "said"),
    [
        ("fail", "FAILED", "the test agent was told to fail"),
        ("reject", "REJECTED", "The test agent was told to reject this."),
        ("auth", "AUTH_REQUIRED", "Please authorise"),
        ("input", "INPUT_REQUIRED", "Which colour would you like?"),
    ],
)
async def test_other_ends_say_why_in_the_status(on: Caller, text: str, wanted: str, said: str) -> None:
    task = await on.task(text)
    assert state(task) == wanted
    assert task["status"]["message"]["parts"][0]["text"].startswith(said)
    assert "artifacts" not in task


@pytest.mark.parametrize("text", ["input", "auth"])
async def test_an_interrupted_task_goes_on_with_the_next_message(on: Caller, text: str) -> None:
    asked = await on.task(text)
    done = await on.task("blue", taskId=asked["id"])
    assert (state(done), done["id"], done["contextId"]) == ("COMPLETED", asked["id"], asked["contextId"])
    assert [message["role"] for message in done["history"]] == ["ROLE_USER", "ROLE_AGENT", "ROLE_USER"]
    assert done["artifacts"][0]["parts"][0]["text"] == "Thank you: blue"
    with pytest.raises(Refused) as caught:
        await on.send("more", taskId=asked["id"])
    assert caught.value.reason == "UNSUPPORTED_OPERATION"
    with pytest.raises(Refused) as caught:
        await on.send("more", taskId=asked["id"], contextId="another")
    assert caught.value.reason == "INVALID_PARAMS"


async def test_files_and_data_go_both_ways(on: Caller) -> None:
    task = await on.task("file")
    parts = [artifact["parts"][0] for artifact in task["artifacts"][1:]]
    assert base64.b64decode(parts[0]["raw"]).startswith(b"\x89PNG")
    assert parts[1]["url"] == "https://example.com/guide.pdf"
    assert (parts[0]["mediaType"], parts[0]["filename"]) == ("image/png", "pixel.png")
    sent = [{"data": {"skill": "data", "weight": 81.5}}, {"raw": "AAAA", "mediaType": "image/png", "filename": "a.png"}]
    task = await on.task("", parts=sent)
    assert task["artifacts"][1]["parts"][0]["data"] == {"skill": "data", "weight": 81.5}
    assert task["history"][0]["parts"] == sent


async def test_a_stream_begins_with_the_task_and_ends_with_its_end(on: Caller) -> None:
    events = await all_of(on.stream("SendStreamingMessage", message_of("chunks 4")))
    assert "task" in events[0]
    assert states_in(events) == ["SUBMITTED", "WORKING", "COMPLETED"]
    updates = [event["artifactUpdate"] for event in events if "artifactUpdate" in event]
    assert [update.get("append", False) for update in updates] == [False, True, True, True, False]
    assert [update.get("lastChunk", False) for update in updates] == [False, False, False, False, True]
    *pieces, whole = [update["artifact"]["parts"][0]["text"] for update in updates]
    assert whole == "".join(pieces)
    assert text_in(events) == "piece 1. piece 2. piece 3. piece 4. "
    done = await on.call("GetTask", {"id": events[0]["task"]["id"]})
    assert done["status"] == events[-1]["statusUpdate"]["status"]


async def test_a_stream_closes_when_input_is_required(on: Caller) -> None:
    events = await all_of(on.stream("SendStreamingMessage", message_of("input")))
    assert states_in(events) == ["SUBMITTED", "WORKING", "INPUT_REQUIRED"]
    assert text_in(events) == ""


async def test_whoever_subscribes_sees_the_same_events_in_the_same_order(on: Caller) -> None:
    task = await on.task("chunks 30", config={"returnImmediately": True})

    async def heard(after_s: float) -> list[dict[str, Any]]:
        await asyncio.sleep(after_s)
        return await all_of(on.stream("SubscribeToTask", {"id": task["id"]}))

    streams = await asyncio.gather(*(heard(0.1 * number) for number in range(4)))
    for events in streams:
        assert "task" in events[0]
        assert text_in(events) == "".join(f"piece {number}. " for number in range(1, 31))
        assert [event for event in events[1:] if "statusUpdate" in event] == [
            event for event in streams[0][1:] if "statusUpdate" in event
        ]
        assert states_in(events)[-1] == "COMPLETED"


async def test_a_subscription_stays_while_the_task_waits_for_its_caller(on: Caller) -> None:
    asked = await on.task("input")
    listening = asyncio.create_task(all_of(on.stream("SubscribeToTask", {"id": asked["id"]})))
    await asyncio.sleep(0.2)
    await on.send("red", taskId=asked["id"])
    events = await listening
    assert states_in(events) == ["INPUT_REQUIRED", "WORKING", "COMPLETED"]
    assert text_in(events) == "Thank you: red"
    with pytest.raises(Refused) as caught:
        await all_of(on.stream("SubscribeToTask", {"id": asked["id"]}))
    assert caught.value.reason == "UNSUPPORTED_OPERATION"


async def test_a_message_to_a_busy_task_waits_for_its_turn(on: Caller) -> None:
    first = await on.task("slow 0.4", config={"returnImmediately": True})
    both = await asyncio.gather(
        on.task("echo second", taskId=first["id"]), on.task("echo third", taskId=first["id"]),
    )  # fmt: skip
    assert {state(task) for task in both} == {"COMPLETED"}
    done = await on.call("GetTask", {"id": first["id"]})
    texts = [artifact["parts"][0]["text"] for artifact in done["artifacts"]]
    assert texts[0] == "That took 0.4 seconds."
    assert sorted(texts[1:]) == ["second", "third"]
    assert len(done["history"]) == 3


async def test_a_running_task_is_cancelled_and_again_that_is_nothing(on: Caller) -> None:
    task = await on.task("slow 30", config={"returnImmediately": True})
    await on.send("waiting", taskId=task["id"], config={"returnImmediately": True})
    assert state(await on.call("CancelTask", {"id": task["id"]})) == "CANCELED"
    assert state(await on.call("CancelTask", {"id": task["id"]})) == "CANCELED"
    with pytest.raises(Refused) as caught:
        await on.send("more", taskId=task["id"])
    assert caught.value.reason == "UNSUPPORTED_OPERATION"


async def test_a_task_that_waits_for_its_caller_can_be_cancelled(on: Caller) -> None:
    task = await on.task("input")
    cancelled = await on.call("CancelTask", {"id": task["id"]})
    assert state(cancelled) == "CANCELED"
    assert "artifacts" not in cancelled


@pytest.mark.parametrize("text", ["echo x", "fail", "reject"])
async def test_an_ended_task_cannot_be_cancelled(on: Caller, text: str) -> None:
    task = await on.task(text)
    with pytest.raises(Refused) as caught:
        await on.call("CancelTask", {"id": task["id"]})
    assert caught.value.reason == "TASK_NOT_CANCELABLE"


@pytest.mark.parametrize(("length", "kept"), [(None, 3), (0, 0), (1, 1), (2, 2), (50, 3)])
async def test_history_is_cut_to_the_newest(on: Caller, length: int | None, kept: int) -> None:
    asked = await on.task("input")
    config = {} if length is None else {"historyLength": length}
    params = {"historyLength": length} if length is not None else {}
    done = await on.task("green", taskId=asked["id"], config=config)
    assert len(done.get("history", [])) == kept
    assert ("history" in done) == (kept > 0)
    found = await on.call("GetTask", {"id": asked["id"], **params})
    [listed] = (await on.call("ListTasks", params))["tasks"]
    for task in (found, listed):
        assert [message["messageId"] for message in task.get("history", [])] == [
            message["messageId"] for message in done.get("history", [])
        ]


async def test_a_list_is_paged_filtered_and_without_artifacts_unless_asked(on: Caller) -> None:
    ids = [(await on.task(f"echo {number}", contextId=f"context {number % 2}"))["id"] for number in range(5)]
    first = await on.call("ListTasks", {"pageSize": 2})
    assert set(first) == {"tasks", "nextPageToken", "pageSize", "totalSize"}
    second = await on.call("ListTasks", {"pageSize": 2, "pageToken": first["nextPageToken"]})
    third = await on.call("ListTasks", {"pageSize": 2, "pageToken": second["nextPageToken"]})
    assert [task["id"] for page in (first, second, third) for task in page["tasks"]] == ids[::-1]
    assert (first["totalSize"], third["totalSize"], third["nextPageToken"], third["pageSize"]) == (5, 5, "", 2)
    assert all("artifacts" not in task for task in first["tasks"])
    assert all(task["artifacts"] for task in (await on.call("ListTasks", {"includeArtifacts": True}))["tasks"])
    assert (await on.call("ListTasks", {"contextId": "context 1"}))["totalSize"] == 2
    assert (await on.call("ListTasks", {"status": "TASK_STATE_FAILED"}))["tasks"] == []
    since = first["tasks"][1]["status"]["timestamp"]
    found = await on.call("ListTasks", {"statusTimestampAfter": since})
    assert [task["id"] for task in found["tasks"]] == ids[:2:-1]


async def test_webhook_configs_are_kept_shown_listed_and_deleted(on: Caller) -> None:
    task = await on.task("echo x")
    config = {
        "taskId": task["id"], "url": "http://127.0.0.1:9/hook", "token": "secret",
        "authentication": {"scheme": "Bearer", "credentials": "abc"},
    }  # fmt: skip
    made = await on.call("CreateTaskPushNotificationConfig", config)
    assert made == {**config, "id": made["id"]}
    named = await on.call("CreateTaskPushNotificationConfig", {**config, "id": "mine"})
    place = {"taskId": task["id"], "id": "mine"}
    assert await on.call("GetTaskPushNotificationConfig", place) == named
    listed = await on.call("ListTaskPushNotificationConfigs", {"taskId": task["id"]})
    assert [one["id"] for one in listed["configs"]] == [made["id"], "mine"]
    first = await on.call("ListTaskPushNotificationConfigs", {"taskId": task["id"], "pageSize": 1})
    assert (len(first["configs"]), first["nextPageToken"]) == (1, made["id"])
    for _ in range(2):
        assert not await on.call("DeleteTaskPushNotificationConfig", place)
    with pytest.raises(Refused) as caught:
        await on.call("GetTaskPushNotificationConfig", place)
    assert caught.value.reason == "TASK_NOT_FOUND"


async def test_each_agent_path_has_its_own_tasks(on: Caller) -> None:
    task = await on.task("hi", tenant="parrot")
    assert state(task) == "COMPLETED"
    assert await on.call("GetTask", {"id": task["id"], "tenant": "parrot"}) == task
    for tenant in ({}, {"tenant": "owl"}):
        with pytest.raises(Refused):
            await on.call("GetTask", {"id": task["id"], **tenant})
    with pytest.raises(Refused):
        await on.send("more", taskId=task["id"])


@pytest.mark.parametrize("binding", BINDINGS)
async def test_another_users_tasks_look_absent_and_who_is_nobody_gets_nothing(tmp_path: Path, binding: str) -> None:
    gateway = GatewaySettings(auth=AuthSettings(mode="api_key"))
    async with serving(tmp_path, gateway, has_auth=True) as (url, made), aiohttp.ClientSession() as session:
        callers = []
        for user in ("ana", "ben"):
            secret, digest = new_api_key()
            key = ApiKey(id=user, digest=digest, owner=Owner("acme", user), roles=(), created_at=1.0)
            await made.deps.tell(PutKey(key=key))
            headers = {"A2A-Version": "1.0", "Authorization": f"Bearer {secret}"}
            callers.append(Caller(session, url, binding, headers))
        ana, ben = callers
        task = await ana.task("input", contextId="shared name")
        place = {"id": task["id"]}
        webhook = {"taskId": task["id"], "url": "http://127.0.0.1:9/"}
        for method, params in (
            ("GetTask", place), ("CancelTask", place), ("SendMessage", message_of("x", taskId=task["id"])),
            ("CreateTaskPushNotificationConfig", webhook),
            ("ListTaskPushNotificationConfigs", {"taskId": task["id"]}),
        ):  # fmt: skip
            with pytest.raises(Refused) as caught:
                await ben.call(method, params)
            assert caught.value.reason == "TASK_NOT_FOUND"
        with pytest.raises(Refused):
            await all_of(ben.stream("SubscribeToTask", place))
        assert (await ben.call("ListTasks", {}))["totalSize"] == 0
        assert (await ben.task("echo x", contextId="shared name"))["contextId"] == "shared name"
        assert (await ana.call("ListTasks", {"contextId": "shared name"}))["totalSize"] == 1
        async with session.post(f"{url}/a2a", json={}) as answer:
            assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
        async with session.get(f"{url}/.well-known/agent-card.json") as answer:
            card = await answer.json()
            assert card["securitySchemes"]["bearer"]["httpAuthSecurityScheme"]["scheme"] == "Bearer"
        extended = await ana.call("GetExtendedAgentCard", {})
        assert len(extended["skills"]) >= len(card["skills"])


async def test_a_server_that_takes_no_turns_says_when_to_come_back(tmp_path: Path) -> None:
    from ngx_agents.resilience.modes import Mode

    for binding, status in zip(BINDINGS, (200, 503), strict=True):
        (tmp_path / binding).mkdir()
        async with serving(tmp_path / binding) as (url, made), aiohttp.ClientSession() as session:
            on = Caller(session, url, binding, {"A2A-Version": "1.0"})
            made.modes.force(Mode.READ_ONLY, by="a test", reason="drill")
            with pytest.raises(Refused) as caught:
                await on.send("hi")
            assert (caught.value.status, caught.value.headers["Retry-After"].isdecimal()) == (status, True)
            assert (await on.call("ListTasks", {}))["totalSize"] == 0


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_key_for_some_agents_sends_messages_to_no_other(tmp_path: Path, binding: str) -> None:
    gateway = GatewaySettings(auth=AuthSettings(mode="api_key"))
    async with serving(tmp_path, gateway, has_auth=True) as (url, made), aiohttp.ClientSession() as session:
        secret, digest = new_api_key()
        key = ApiKey(
            id="k_1", digest=digest, owner=Owner("acme", "ana"), roles=(), created_at=1.0, agents=("owl", "parrot")
        )
        await made.deps.tell(PutKey(key=key))
        on = Caller(session, url, binding, {"A2A-Version": "1.0", "Authorization": f"Bearer {secret}"})
        assert state(await on.task("say x", tenant="owl")) == "COMPLETED"
        with pytest.raises(Refused):
            await on.task("say x")


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_key_for_one_agent_reaches_no_other(tmp_path: Path, binding: str) -> None:
    gateway = GatewaySettings(auth=AuthSettings(mode="api_key"))
    async with serving(tmp_path, gateway, has_auth=True) as (url, made), aiohttp.ClientSession() as session:
        secret, digest = new_api_key()
        key = ApiKey(id="k", digest=digest, owner=Owner("acme", "ana"), roles=(), created_at=1.0, agents=("parrot",))
        await made.deps.tell(PutKey(key=key))
        on = Caller(session, url, binding, {"A2A-Version": "1.0", "Authorization": f"Bearer {secret}"})
        task = await on.task("hi")
        assert (await on.call("GetTask", {"id": task["id"], "tenant": "parrot"}))["id"] == task["id"]
        for tenant in ("owl", "test_agent"):
            with pytest.raises(Refused) as caught:
                await on.send("hi", tenant=tenant)
            assert caught.value.reason == "TASK_NOT_FOUND"
