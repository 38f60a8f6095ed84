"""Batches as a client hands them in and reads them back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest

from ngx_agents.clock import SystemClock
from ngx_agents.gateway.settings import AuthSettings, GatewaySettings
from ngx_agents.state.ids import Ids
from tests.gateway.serving import Client, client

LINES = {"content-type": "application/jsonl"}
SECRET = "0123456789abcdef0123456789abcdef"


def bearer(user: str) -> dict[str, str]:
    token = jwt.encode({"sub": user, "exp": SystemClock().now_s() + 600}, SECRET, algorithm="HS256")
    return {"Authorization": f"Bearer {token}"}


def items(count: int, verb: str = "say") -> list[dict[str, Any]]:
    return [{"text": f"{verb} numero {number}", "custom_id": f"n{number}"} for number in range(count)]


async def ended(api: Client, batch_id: str, **more: Any) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            status, batch = await api.call("GET", f"/v1/batches/{batch_id}", **more)
            assert status == 200, batch
            if batch["finished_at"] is not None:
                return dict(batch)
            await asyncio.sleep(0.01)


async def test_a_batch_is_accepted_worked_off_and_read_back_in_order(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        async with api.session.post(f"{api.url}/v1/batches", json={"items": items(120)}) as answer:
            made = await answer.json()
            assert (answer.status, answer.headers["location"]) == (201, f"/v1/batches/{made['id']}")
        assert (made["status"], made["counts"]["total"], made["finished_at"]) == ("running", 120, None)
        batch = await ended(api, made["id"])
        assert (batch["status"], batch["counts"]["completed"]) == ("completed", 120)
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            _, page = await api.call("GET", f"/v1/batches/{made['id']}/results?limit=50{cursor}")
            found.extend(page["items"])
            if page["next"] is None:
                break
            cursor = f"&cursor={page['next']}"
        assert [one["index"] for one in found] == list(range(120))
        assert [one["text"] for one in found] == [f"numero {number}" for number in range(120)]
        assert (found[7]["custom_id"], found[7]["source"], found[7]["usage"]["output_tokens"]) == ("n7", "model", 3)
        status, turn = await api.call("GET", f"/v1/turns/{found[7]['turn_id']}")
        assert (status, turn["text"]) == (200, "numero 7")
        assert (await api.call("GET", "/v1/conversations"))[1]["items"] == []
        _, listed = await api.call("GET", "/v1/batches")
        assert [one["id"] for one in listed["items"]] == [made["id"]]


async def test_json_lines_go_in_and_come_out(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        body = "\n".join(json.dumps(item) for item in items(450)) + "\n\n"
        status, made = await api.call("POST", "/v1/batches?expires_after_s=600", data=body, headers=LINES)
        assert (status, made["counts"]["total"]) == (201, 450)
        assert made["expires_at"] - made["created_at"] == 600
        await ended(api, made["id"])
        url = f"{api.url}/v1/batches/{made['id']}/results"
        async with api.session.get(url, headers={"accept": "application/jsonl"}) as answer:
            assert answer.content_type == "application/jsonl"
            lines = [json.loads(line) for line in (await answer.read()).splitlines()]
        assert [one["text"] for one in lines] == [f"numero {number}" for number in range(450)]
        async with api.session.get(f"{url}?cursor=448", headers={"accept": "application/jsonl"}) as answer:
            assert [json.loads(line)["index"] for line in (await answer.read()).splitlines()] == [448, 449]


async def _dripping(lines: list[bytes], size: int) -> AsyncIterator[bytes]:
    whole = b"\n".join(lines)
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


async def test_lines_that_are_cut_anywhere_arrive_whole(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        lines = [json.dumps({"text": f"say áé{number}"}, ensure_ascii=False).encode() for number in range(30)]
        status, made = await api.call("POST", "/v1/batches", data=_dripping(lines, 7), headers=LINES)
        assert (status, made["counts"]["total"]) == (201, 30)
        await ended(api, made["id"])
        _, page = await api.call("GET", f"/v1/batches/{made['id']}/results")
        assert [one["text"] for one in page["items"]] == [f"áé{number}" for number in range(30)]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{", "items[1]"),
        (b"[]", "items[1]"),
        (b'{"text": ""}', "items[1].text"),
        (b'{"text": " "}', "items[1].text"),
        (b'{"text": "x", "user_id": "eve"}', "items[1].user_id"),
        (b'{"text": "x", "class": 0}', "items[1].class"),
        (b'{"text": "x", "agent": "nobody"}', "items[1].agent"),
        (b'{"text": "x", "custom_id": "a"}', "items[1].custom_id"),
        (b'{"text": "x", "conversation_id": "c_x"}', "items[1].conversation_id"),
        (b'{"text": "x", "conversation_id": "c_0001M86RQA9C74KMJTS0B3W0W7"}', "items[1].conversation_id"),
        (b'{"text": "\xff"}', "items[1]"),
    ],
)
async def test_a_bad_line_is_named_and_nothing_of_its_batch_stays(tmp_path: Path, line: bytes, field: str) -> None:
    async with client(tmp_path) as api:
        body = b'{"text": "say x", "custom_id": "a"}\n' + line + b'\n{"text": "say y"}'
        for _ in range(5):
            status, problem = await api.call("POST", "/v1/batches", data=body, headers=LINES)
            assert (status, problem["code"], problem["field"]) == (400, "invalid_request", field)
        assert (await api.call("GET", "/v1/batches"))[1]["items"] == []


async def test_bodies_that_are_no_batch_are_refused(tmp_path: Path) -> None:
    async with client(tmp_path, GatewaySettings(max_batch_bytes=400_000)) as api:
        for sent in ({}, {"items": []}, {"items": [{}]}, {"items": items(1), "more": 1}, []):
            status, problem = await api.call("POST", "/v1/batches", json=sent)
            assert (status, problem["code"]) == (400, "invalid_request"), sent
        assert (await api.call("POST", "/v1/batches", data=b"", headers=LINES))[0] == 400
        assert (await api.call("POST", "/v1/batches", data=b"{}", headers={"content-type": "text/plain"}))[0] == 415
        endless = b'{"text": "' + b"x" * 300_000
        assert (await api.call("POST", "/v1/batches", data=endless, headers=LINES))[0] == 413
        many = b'{"text": "say ' + b"x" * 90 + b'"}\n'
        assert (await api.call("POST", "/v1/batches", data=_dripping([many] * 5_000, 50_000), headers=LINES))[0] == 413
        for wrong in ("59", "604801", "x", "-1", "1e3", "６０"):
            status, problem = await api.call("POST", f"/v1/batches?expires_after_s={wrong}", json={"items": items(1)})
            assert (status, problem["field"]) == (400, "expires_after_s")


async def test_more_than_ten_thousand_inputs_are_refused(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        status, problem = await api.call("POST", "/v1/batches", data=b'{"text": "x"}\n' * 10_001, headers=LINES)
        assert (status, problem["field"]) == (400, "items")


async def test_the_same_key_gives_the_same_batch_and_another_body_a_conflict(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        key = {"Idempotency-Key": "b-1"}
        first = await api.call("POST", "/v1/batches", json={"items": items(3)}, headers=key)
        again = await api.call("POST", "/v1/batches", json={"items": items(3)}, headers=key)
        assert (first[0], again[0], again[1]["id"]) == (201, 200, first[1]["id"])
        other = await api.call("POST", "/v1/batches", json={"items": items(4)}, headers=key)
        later = await api.call("POST", "/v1/batches?expires_after_s=99", json={"items": items(3)}, headers=key)
        assert (other[0], other[1]["code"], later[0]) == (409, "idempotency_conflict", 409)
        lines = [b'{"text": "say a"}', b'{"text": "say b"}']
        headers = LINES | {"Idempotency-Key": "b-2"}
        sent = [
            await api.call("POST", "/v1/batches", data=_dripping(lines, size), headers=headers) for size in (3, 1000)
        ]
        assert [one[0] for one in sent] == [201, 200]


async def test_a_user_has_so_many_open_batches_and_no_more(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        for _ in range(3):
            assert (await api.call("POST", "/v1/batches", json={"items": items(1, "wait")}))[0] == 201
        async with api.session.post(f"{api.url}/v1/batches", json={"items": items(1)}) as answer:
            problem = await answer.json()
            assert (answer.status, problem["code"]) == (429, "quota_exceeded")
            assert int(answer.headers["retry-after"]) >= 1
        listed = (await api.call("GET", "/v1/batches"))[1]["items"]
        assert len(listed) == 3
        for one in listed:
            assert (await api.call("POST", f"/v1/batches/{one['id']}/cancel"))[0] == 200
            assert (await ended(api, one["id"]))["status"] == "cancelled"
        assert (await api.call("POST", "/v1/batches", json={"items": items(1)}))[0] == 201


async def test_partial_results_are_there_while_it_goes_on(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        sent = [*items(1), *items(1, "wait"), *items(1, "fail")]
        for number, one in enumerate(sent):
            one["custom_id"] = str(number)
        _, made = await api.call("POST", "/v1/batches", json={"items": sent})
        async with asyncio.timeout(10):
            while True:
                _, page = await api.call("GET", f"/v1/batches/{made['id']}/results")
                if [one["status"] for one in page["items"]] == ["completed", "running", "failed"]:
                    break
                await asyncio.sleep(0.01)
        assert page["items"][2]["code"] == "model_unavailable"
        _, batch = await api.call("GET", f"/v1/batches/{made['id']}")
        assert batch["counts"] == {
            "total": 3, "queued": 0, "running": 1, "completed": 1, "failed": 1, "cancelled": 0, "expired": 0, "gone": 0,
        }  # fmt: skip
        await api.call("POST", f"/v1/batches/{made['id']}/cancel")
        batch = await ended(api, made["id"])
        assert (batch["status"], batch["counts"]["cancelled"], batch["counts"]["completed"]) == ("cancelled", 1, 1)


async def test_a_batch_is_its_owners_alone(tmp_path: Path) -> None:
    settings = GatewaySettings(auth=AuthSettings(mode="jwt", jwt_secret=SECRET))
    async with client(tmp_path, settings) as api:
        ana, ben = {"headers": bearer("ana")}, {"headers": bearer("ben")}
        _, made = await api.call("POST", "/v1/batches", json={"items": items(1)}, **ana)
        await ended(api, made["id"], **ana)
        for method, path in (("GET", ""), ("GET", "/results"), ("POST", "/cancel")):
            assert (await api.call(method, f"/v1/batches/{made['id']}{path}", **ben))[0] == 404
        assert (await api.call("GET", "/v1/batches", **ben))[1]["items"] == []
        lane = await api.conversation(**ben)
        status, problem = await api.call(
            "POST", "/v1/batches", json={"items": [{"text": "say x", "conversation_id": lane}]}, **ana
        )
        assert (status, problem["field"]) == (400, "items[0].conversation_id")
        absent = Ids(SystemClock()).new("j", 1)
        assert (await api.call("GET", f"/v1/batches/{absent}", **ana))[0] == 404
