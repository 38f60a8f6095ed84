"""Webhooks as a client names them and its receiver gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from ngx_agents.clock import Rng, SystemClock
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.outbox.guard import Guard
from ngx_agents.turns.outbox.sender import Outbox, OutboxSettings
from ngx_agents.turns.webhooks import key_of, sign
from tests.gateway.serving import Client, client, house, served
from tests.turns.outbox.hooks import Hooks, hooks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def posting(path: Path) -> AsyncIterator[Client]:
    """A client of a served house whose outbox is sent."""
    async with house(path) as made, served(made.app) as url, aiohttp.ClientSession() as session, Outbox(
        made.deps.journal, instance=made.engine.instance, renders=made.deps.webhooks.renders,
        guard=Guard(("127.0.0.1",)), clock=SystemClock(), rng=Rng(1), metrics=Metrics(),
        settings=OutboxSettings(first_delay_s=0.01, look_every_s=0.05),
    ):  # fmt: skip
        yield Client(session, url)


def checked(there: Hooks, number: int = 0) -> dict[str, Any]:
    """What came, its signature being right and fresh."""
    sent, content = there.came[number]
    headers = {name.lower(): value for name, value in sent.items()}
    at_s = int(headers["webhook-timestamp"])
    assert abs(at_s - SystemClock().now_s()) < 60
    assert headers["webhook-signature"] == sign(key_of(SECRET), headers["webhook-id"], at_s, content)
    assert headers["content-type"] == "application/json"
    return dict(json.loads(content))


async def test_the_end_of_a_turn_is_told_once_and_signed(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        body = {"text": "say secreto", "webhook": {"url": there.url, "secret": SECRET}}
        path = f"/v1/conversations/{await api.conversation()}/turns"
        headers = {"Prefer": "respond-async", "Idempotency-Key": "k"}
        sent = [await api.call("POST", path, json=body, headers=headers) for _ in range(2)]
        assert {status for status, _ in sent} == {202}
        await there.until(1)
        event = checked(there)
        assert event["type"] == "turn.completed"
        assert event["data"] == {"turn_id": sent[0][1]["turn_id"], "status": "completed"}
        assert b"secreto" not in there.contents[0]
        await asyncio.sleep(0.2)
        assert len(there.came) == 1


async def test_a_failed_turn_is_told_as_failed(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        path = f"/v1/conversations/{await api.conversation()}/turns"
        body = {"text": "fail", "webhook": {"url": there.url, "secret": SECRET}}
        assert (await api.call("POST", path, json=body))[0] == 200
        await there.until(1)
        assert checked(there)["type"] == "turn.failed"


async def test_the_end_of_a_batch_is_told_with_its_counts(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        hook = {"url": there.url, "secret": SECRET}
        _, made = await api.call("POST", "/v1/batches", json={"items": [{"text": "say uno"}], "webhook": hook})
        await there.until(1)
        event = checked(there)
        assert (event["type"], event["data"]["batch_id"]) == ("batch.completed", made["id"])
        assert event["data"]["counts"]["completed"] == 1
        lines = [{"webhook": hook}, {"text": "say dos", "custom_id": "webhook"}]
        body = "\n".join(json.dumps(line) for line in lines)
        headers = {"content-type": "application/jsonl"}
        status, made = await api.call("POST", "/v1/batches", data=body, headers=headers)
        assert (status, made["counts"]["total"]) == (201, 1)
        await there.until(2)
        assert checked(there, 1)["data"]["batch_id"] == made["id"]


async def test_a_receiver_that_was_away_is_told_later_with_the_same_id(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        there.answer = lambda number: web.Response(status=503 if number < 3 else 204)
        path = f"/v1/conversations/{await api.conversation()}/turns"
        body = {"text": "say uno", "webhook": {"url": there.url, "secret": SECRET}}
        assert (await api.call("POST", path, json=body))[0] == 200
        await there.until(3)
        ids = {sent.get("Webhook-Id") or sent.get("webhook-id") for sent, _ in there.came}
        assert len(ids) == 1
        checked(there, 2)


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ({"url": "http://10.0.0.1/x", "secret": SECRET}, "webhook.url"),
        ({"url": "http://169.254.169.254/latest", "secret": SECRET}, "webhook.url"),
        ({"url": "file:///etc/passwd", "secret": SECRET}, "webhook.url"),
        ({"url": "https://u:p@example.org/", "secret": SECRET}, "webhook.url"),
        ({"url": "https://example.org/" + "x" * 3000, "secret": SECRET}, "webhook.url"),
        ({"url": "https://example.org/", "secret": "whsec_kurz"}, "webhook.secret"),
        ({"url": "https://example.org/"}, "webhook.secret"),
        ({"url": "https://example.org/", "secret": SECRET, "more": 1}, "webhook.more"),
    ],
)
async def test_what_is_no_webhook_is_refused_and_begins_nothing(
    tmp_path: Path, webhook: dict[str, Any], field: str
) -> None:
    async with client(tmp_path) as api:
        lane = await api.conversation()
        asked = [
            (f"/v1/conversations/{lane}/turns", {"text": "say uno", "webhook": webhook}),
            ("/v1/batches", {"items": [{"text": "say uno"}], "webhook": webhook}),
        ]
        for path, body in asked:
            status, problem = await api.call("POST", path, json=body)
            assert (status, problem["field"]) == (400, field), problem
        assert (await api.call("GET", f"/v1/conversations/{lane}/messages"))[1]["items"] == []
        assert (await api.call("GET", "/v1/batches"))[1]["items"] == []


async def test_a_message_with_a_webhook_is_a_turn_of_its_own(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        path = f"/v1/conversations/{await api.conversation()}/turns"
        hook = {"url": "https://93.184.215.14/", "secret": SECRET}
        body = {"text": "say uno", "when_busy": "coalesce", "webhook": hook}
        status, problem = await api.call("POST", path, json=body)
        assert (status, problem["field"]) == (400, "when_busy")
