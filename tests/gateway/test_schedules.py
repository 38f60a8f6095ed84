"""Schedules as a client makes, changes and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from tests.gateway.serving import client
from tests.gateway.test_batches import SECRET, bearer

MORNING = {"at": "07:30", "zone": "Europe/Madrid", "text": "say buenos dias", "weekdays": [5, 1, 1]}


async def test_a_schedule_is_made_read_paused_changed_and_deleted(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        async with api.session.post(f"{api.url}/v1/me/schedules", json=MORNING) as answer:
            made = await answer.json()
            assert (answer.status, answer.headers["location"]) == (201, f"/v1/me/schedules/{made['id']}")
        assert (made["at"], made["weekdays"], made["zone"]) == ("07:30", [1, 5], "Europe/Madrid")
        assert 0 < made["next_at"] - SystemClock().now_s() < 7 * 86_400
        assert (made["last_turn_id"], made["skipped"], made["held_by"], made["is_paused"]) == (None, 0, None, False)
        path = f"/v1/me/schedules/{made['id']}"
        assert (await api.call("GET", path))[1] == made
        status, paused = await api.call("PUT", path, json=MORNING | {"is_paused": True})
        assert (status, paused["is_paused"], paused["next_at"]) == (200, True, None)
        status, changed = await api.call("PUT", path, json={"at": "21:00", "zone": "UTC", "text": "say otra"})
        assert (status, changed["at"], changed["weekdays"]) == (200, "21:00", [1, 2, 3, 4, 5, 6, 7])
        assert (changed["id"], changed["conversation_id"]) == (made["id"], made["conversation_id"])
        assert (await api.call("GET", "/v1/me/schedules"))[1] == {"items": [changed]}
        assert (await api.call("DELETE", path))[0] == 204
        for method in ("GET", "DELETE"):
            assert (await api.call(method, path))[0] == 404
        assert (await api.call("PUT", path, json=MORNING))[0] == 404


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at": "7:30"}, "at"), ({"at": 730}, "at"), ({"at": "25:00"}, "at"), ({"zone": "Europe/Nowhere"}, "zone"),
        ({"zone": "../x"}, "zone"), ({"weekdays": []}, "weekdays"), ({"weekdays": [0]}, "weekdays[0]"),
        ({"weekdays": [1] * 8}, "weekdays"), ({"text": " "}, "text"), ({"agent": "nobody"}, "agent"),
        ({"conversation_id": "c_0001M86RQA9C74KMJTS0B3W0W7H5"}, "conversation_id"), ({"user_id": "eve"}, "user_id"),
    ],
)  # fmt: skip
async def test_what_is_no_schedule_is_refused_and_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    async with client(tmp_path) as api:
        status, problem = await api.call("POST", "/v1/me/schedules", json=MORNING | changes)
        assert (status, problem["code"], problem["field"]) == (400, "invalid_request", field)
        assert (await api.call("GET", "/v1/me/schedules"))[1] == {"items": []}


async def test_a_user_has_so_many_schedules_and_no_more(tmp_path: Path) -> None:
    async with client(tmp_path, GatewaySettings(max_schedules=2)) as api:
        for _ in range(2):
            assert (await api.call("POST", "/v1/me/schedules", json=MORNING))[0] == 201
        status, problem = await api.call("POST", "/v1/me/schedules", json=MORNING)
        assert (status, problem["code"]) == (429, "quota_exceeded")


async def test_schedules_are_their_owners_alone(tmp_path: Path) -> None:
    settings = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=SECRET))
    async with client(tmp_path, settings) as api:
        ana, ben = {"headers": bearer("ana")}, {"headers": bearer("ben")}
        _, made = await api.call("POST", "/v1/me/schedules", json=MORNING, **ana)
        path = f"/v1/me/schedules/{made['id']}"
        assert (await api.call("GET", path, **ben))[0] == 404
        assert (await api.call("PUT", path, json=MORNING, **ben))[0] == 404
        assert (await api.call("DELETE", path, **ben))[0] == 404
        assert (await api.call("GET", "/v1/me/schedules", **ben))[1] == {"items": []}
        lane = await api.conversation(**ben)
        status, problem = await api.call("POST", "/v1/me/schedules", json=MORNING | {"conversation_id": lane}, **ana)
        assert (status, problem["field"]) == (400, "conversation_id")
