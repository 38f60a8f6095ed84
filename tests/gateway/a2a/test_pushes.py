"""What a task's webhook gets: signed as it asked, in order, from the outbox, whatever binding the call came by."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ngx_agents.app.open_protocol import task_letters
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.sender import Outbox, OutboxSettings
from tests.gateway.a2a.wire import BINDINGS, KEYS, Caller, serving
from tests.turns.outbox.hooks import Hooks, hooks


@asynccontextmanager
async def told(path: Path, binding: str) -> AsyncIterator[tuple[Caller, Hooks]]:
    async with hooks() as there, serving(path) as (url, made), aiohttp.ClientSession() as session:
        guard = Guard(["127.0.0.1"])
        outbox = Outbox(
            made.deps.journal, instance="one", renders={"task": task_letters(made.deps.journal, KEYS, guard)},
            guard=guard, clock=SystemClock(), rng=Rng(1), metrics=Metrics(), settings=OutboxSettings(look_every_s=0.05),
        )  # fmt: skip
        async with outbox:
            yield Caller(session, url, binding, {"A2A-Version": "1.0"}), there


def shown(there: Hooks) -> list[str]:
    """What came, in short."""
    found = []
    for content in there.contents:
        event = json.loads(content)
        if "statusUpdate" in event:
            found.append(event["statusUpdate"]["status"]["state"].removeprefix("TASK_STATE_"))
        else:
            found.append(event["artifactUpdate"]["artifact"]["parts"][0]["text"])
    return found


def config_for(there: Hooks) -> dict[str, Any]:
    return {
        "url": there.url, "token": "t-1", "authentication": {"scheme": "Bearer", "credentials": "c-1"},
    }  # fmt: skip


@pytest.mark.parametrize("binding", BINDINGS)
async def test_a_webhook_hears_of_its_task_from_the_beginning(tmp_path: Path, binding: str) -> None:
    async with told(tmp_path, binding) as (on, there):
        task = await on.task("echo hello", config={"taskPushNotificationConfig": config_for(there)})
        await there.until(3)
        assert shown(there) == ["WORKING", "hello", "COMPLETED"]
        headers = there.came[0][0]
        assert headers["Content-Type"] == "application/a2a+json"
        assert headers["Authorization"] == "Bearer c-1"
        assert headers["X-A2A-Notification-Token"] == "t-1"
        assert len({head["Webhook-Id"] for head, _ in there.came}) == 3
        assert json.loads(there.contents[0])["statusUpdate"]["taskId"] == task["id"]


async def test_a_webhook_that_came_later_hears_the_rest(tmp_path: Path) -> None:
    async with told(tmp_path, "jsonrpc") as (on, there):
        task = await on.task("input")
        await on.call("CreateTaskPushNotificationConfig", {"taskId": task["id"], **config_for(there)})
        await on.task("red", taskId=task["id"])
        await there.until(3)
        assert shown(there) == ["WORKING", "Thank you: red", "COMPLETED"]


async def test_a_cancel_and_a_question_are_told_too(tmp_path: Path) -> None:
    async with told(tmp_path, "jsonrpc") as (on, there):
        task = await on.task("input", config={"taskPushNotificationConfig": config_for(there)})
        await on.call("CancelTask", {"id": task["id"]})
        await there.until(3)
        assert shown(there) == ["WORKING", "INPUT_REQUIRED", "CANCELED"]
        asked = json.loads(there.contents[1])["statusUpdate"]["status"]["message"]
        assert asked["parts"][0]["text"].startswith("Which colour")


async def test_a_deleted_webhook_hears_nothing_more(tmp_path: Path) -> None:
    async with told(tmp_path, "jsonrpc") as (on, there):
        config = {**config_for(there), "id": "mine"}
        task = await on.task("input", config={"taskPushNotificationConfig": config})
        await there.until(2)
        await on.call("DeleteTaskPushNotificationConfig", {"taskId": task["id"], "id": "mine"})
        await on.task("red", taskId=task["id"])
        await asyncio.sleep(0.3)
        assert shown(there) == ["WORKING", "INPUT_REQUIRED"]
