"""Standing webhooks as a client makes and changes them, and as their receiver is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ngx_agents.clock import SystemClock
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.webhook_commands import EVENTS
from ngx_agents.turns.webhooks import key_of, sign
from tests.gateway.serving import client
from tests.gateway.test_batches import SECRET, bearer
from tests.gateway.test_webhooks import posting
from tests.turns.outbox.hooks import Hooks, hooks

HOOKS = "/v1/me/webhooks"
PUBLIC = "https://93.184.215.14/hook"


def checked(there: Hooks, *secrets: str, number: int = -1) -> dict[str, Any]:
    """What came, signed with all of these and no other."""
    sent, content = there.came[number]
    headers = {name.lower(): value for name, value in sent.items()}
    at_s = int(headers["webhook-timestamp"])
    assert abs(at_s - SystemClock().now_s()) < 60
    expected = [sign(key_of(secret), headers["webhook-id"], at_s, content) for secret in secrets]
    assert headers["webhook-signature"].split(" ") == expected
    return dict(json.loads(content))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"url": "http://10.0.0.1/x"}, "url"), ({"url": "http://169.254.169.254/latest"}, "url"),
        ({"url": "file:///etc/passwd"}, "url"), ({"url": "https://u:p@example.org/"}, "url"),
        ({"url": "https://example.org/\n"}, "url"), ({"url": ""}, "url"), ({}, "url"),
        ({"url": PUBLIC, "events": []}, "events"), ({"url": PUBLIC, "events": ["turn.*"]}, "events[0]"),
        ({"url": PUBLIC, "secret": "whsec_x"}, "secret"), ({"url": PUBLIC, "is_paused": 1}, "is_paused"),
    ],
)  # fmt: skip
async def test_what_is_no_webhook_is_refused_and_kept_nowhere(tmp_path: Path, body: dict[str, Any], field: str) -> None:
    async with client(tmp_path) as api:
        status, problem = await api.call("POST", HOOKS, json=body)
        assert (status, problem["code"]) == (400, "invalid_request"), problem
        assert field in (problem.get("field"), problem["detail"].partition("`")[2].partition("`")[0]), problem
        assert (await api.call("GET", HOOKS))[1] == {"items": []}


async def test_a_webhook_is_made_read_changed_and_deleted_its_secret_told_once(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        async with api.session.post(api.url + HOOKS, json={"url": PUBLIC}) as answer:
            made = await answer.json()
            assert (answer.status, answer.headers["location"]) == (201, f"{HOOKS}/{made['id']}")
        key_of(made.pop("secret"))
        assert made["events"] == list(EVENTS)
        path = f"{HOOKS}/{made['id']}"
        assert (await api.call("GET", path))[1] == made
        assert (await api.call("GET", HOOKS))[1] == {"items": [made]}
        changes = {"events": ["turn.failed", "turn.completed", "turn.failed"], "is_paused": True}
        status, changed = await api.call("PATCH", path, json=changes)
        assert (status, changed) == (200, made | {"events": ["turn.completed", "turn.failed"], "is_paused": True})
        status, problem = await api.call("PATCH", path, json={"url": "http://127.0.0.2/"})
        assert (status, problem["field"]) == (400, "url")
        assert (await api.call("PATCH", path, json={}))[1] == changed
        assert (await api.call("DELETE", path))[0] == 204
        for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/secret")):
            assert (await api.call(method, path + more, json={}))[0] == 404, (method, more)


async def test_webhooks_are_their_owners_alone_and_bounded(tmp_path: Path) -> None:
    settings = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=SECRET), max_webhooks=1)
    async with client(tmp_path, settings) as api:
        ana, ben = {"headers": bearer("ana")}, {"headers": bearer("ben")}
        _, made = await api.call("POST", HOOKS, json={"url": PUBLIC}, **ana)
        status, problem = await api.call("POST", HOOKS, json={"url": PUBLIC}, **ana)
        assert (status, problem["code"]) == (429, "quota_exceeded")
        path = f"{HOOKS}/{made['id']}"
        for method, more in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/test"), ("POST", "/secret")):
            assert (await api.call(method, path + more, json={}, **ben))[0] == 404, (method, more)
        assert (await api.call("GET", HOOKS, **ben))[1] == {"items": []}
        assert (await api.call("GET", path, **ana))[0] == 200


async def test_a_receiver_is_told_of_every_turn_without_being_named_in_it(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        _, made = await api.call("POST", HOOKS, json={"url": there.url, "events": ["turn.completed", "turn.failed"]})
        lane = await api.conversation()
        _, turn = await api.say(lane, "say secreto")
        await there.until(1)
        event = checked(there, made["secret"])
        assert (event["type"], event["data"]) == (
            "turn.completed", {"turn_id": turn["turn_id"], "status": "completed"}
        )  # fmt: skip
        assert b"secreto" not in there.contents[0]
        await api.say(lane, "fail")
        await there.until(2)
        assert checked(there, made["secret"])["type"] == "turn.failed"


async def test_for_an_overlap_both_secrets_sign_and_then_the_new_one_alone(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        _, made = await api.call("POST", HOOKS, json={"url": there.url})
        path = f"{HOOKS}/{made['id']}"
        status, rotated = await api.call("POST", f"{path}/secret", json={"overlap_s": 600})
        assert (status, rotated["id"]) == (200, made["id"])
        assert 590 < rotated["former_until"] - SystemClock().now_s() <= 600
        assert (await api.call("POST", f"{path}/test"))[0] == 202
        await there.until(1)
        event = checked(there, rotated["secret"], made["secret"])
        assert (event["type"], event["data"]) == ("webhook.test", {"webhook_id": made["id"]})
        _, third = await api.call("POST", f"{path}/secret", json={"overlap_s": 0})
        lane = await api.conversation()
        await api.say(lane, "say uno")
        await there.until(2)
        checked(there, third["secret"])


async def test_a_receiver_that_is_gone_is_told_no_more_and_says_so(tmp_path: Path) -> None:
    async with hooks() as there, posting(tmp_path) as api:
        there.answer = lambda number: web.Response(status=410)
        _, made = await api.call("POST", HOOKS, json={"url": there.url})
        lane = await api.conversation()
        await api.say(lane, "say uno")
        await there.until(1)
        path = f"{HOOKS}/{made['id']}"
        for _ in range(200):
            _, seen = await api.call("GET", path)
            if seen["disabled_at"] is not None:
                break
        assert seen["disabled_at"] is not None
        await api.say(lane, "say dos")
        assert (await api.call("GET", path))[1]["waiting"] == 0
        _, revived = await api.call("PATCH", path, json={"is_paused": False})
        assert revived["disabled_at"] is None
