"""Attachments over HTTP: kept if they are what they say, shown safely, given to a turn, exported, erased."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64decode
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ngx_agents.gateway import uploads as edge
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.blobs import MAX_BLOB_BYTES
from ngx_agents.state.model import Owner
from ngx_agents.turns.attachments import MAX_ATTACHMENTS
from tests.gateway.admin.keyed import key_of, keyed
from tests.gateway.serving import Client, client, house, served

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10


async def upload(
    api: Client, data: Any = PNG, media_type: str = "image/png", *, query: str = "", **headers: str
) -> tuple[int, Any]:
    headers = {"Content-Type": media_type, **headers}
    sent = BytesIO(data) if isinstance(data, bytes) else data
    return await api.call("POST", f"/v1/me/attachments{query}", data=sent, headers=headers)


def a_note(number: int) -> bytes:
    return f"nota {number}".encode()


@pytest.mark.parametrize(
    ("data", "media_type", "status", "code"),
    [
        (b"", "image/png", 400, "invalid_request"),
        (b"GIF89a", "image/png", 400, "invalid_request"),
        (PNG, "image/jpeg", 400, "invalid_request"),
        (b"\xff\xfe", "text/plain", 400, "invalid_request"),
        (b"<svg/>", "image/svg+xml", 415, "unsupported_media_type"),
        (b"<html>", "text/html", 415, "unsupported_media_type"),
        (PNG, "application/octet-stream", 415, "unsupported_media_type"),
        (PNG + bytes(MAX_BLOB_BYTES), "image/png", 413, "body_too_large"),
    ],
)
async def test_what_is_not_what_it_says_or_too_large_is_refused(
    tmp_path: Path, data: bytes, media_type: str, status: int, code: str
) -> None:
    async with client(tmp_path) as api:
        refused, problem = await upload(api, data, media_type)
        assert (refused, problem["code"]) == (status, code)
        assert (await api.call("GET", "/v1/me/attachments"))[1]["items"] == []


@pytest.mark.parametrize("name", ["", "%20", "a%2Fb", "a%5Cb", "a%0Ab", "a%00b", "x" * 201])
async def test_a_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    async with client(tmp_path) as api:
        status, problem = await upload(api, query=f"?filename={name}")
        assert (status, problem["field"]) == (400, "filename")


async def test_an_attachment_is_kept_listed_served_safely_and_deleted(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        status, kept = await upload(api, query="?filename=mi%20foto%20%22a%22.png")
        assert status == 201
        assert (kept["media_type"], kept["size_bytes"], kept["name"]) == ("image/png", len(PNG), 'mi foto "a".png')
        assert kept["sha256"] == hashlib.sha256(PNG).hexdigest()
        assert (await upload(api))[1]["id"] == kept["id"]
        _, page = await api.call("GET", "/v1/me/attachments")
        assert [one["id"] for one in page["items"]] == [kept["id"]]
        path = f"/v1/me/attachments/{kept['id']}"
        async with api.session.get(api.url + path) as response:
            assert await response.read() == PNG
            assert response.headers["content-type"] == "image/png"
            assert response.headers["content-disposition"] == (
                "attachment; filename=\"mi foto _a_.png\"; filename*=UTF-8''mi%20foto%20%22a%22.png"
            )
            assert response.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in response.headers["content-security-policy"]
        assert await api.call("DELETE", path) == (204, "")
        assert (await api.call("DELETE", path))[0] == 404
        assert (await api.call("GET", path))[0] == 404


async def test_a_list_goes_on_where_its_page_ended(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        made = [(await upload(api, a_note(number), "text/plain"))[1]["id"] for number in range(5)]
        _, first = await api.call("GET", "/v1/me/attachments?limit=3")
        _, rest = await api.call("GET", f"/v1/me/attachments?limit=3&cursor={first['next']}")
    assert [one["id"] for one in first["items"] + rest["items"]] == made[::-1]
    assert rest["next"] is None


async def test_nobody_sees_or_uses_what_another_attached(tmp_path: Path) -> None:
    async with keyed(tmp_path) as made:
        _, kept = await upload(made.api, **made.user)
        other = await key_of(made.house, Owner("acme", "ben"))
        path = f"/v1/me/attachments/{kept['id']}"
        for method in ("GET", "DELETE"):
            assert (await made.api.call(method, path, headers=other))[0] == 404
        assert (await made.api.call("GET", "/v1/me/attachments", headers=other))[1]["items"] == []
        lane = await made.api.conversation(headers=other)
        status, problem = await made.api.say(lane, "look", attachments=[kept["id"]], headers=other)
        assert (status, problem["field"]) == (400, "attachments")
        status, problem = await upload(made.api, query=f"?conversation_id={lane}", **made.user)
        assert status == 404


async def test_a_turn_is_given_what_came_with_it_in_its_order(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        lane = await api.conversation()
        _, picture = await upload(api, query=f"?conversation_id={lane}")
        _, note = await upload(api, b"hola", "text/plain; charset=utf-8", query="?filename=nota.txt")
        _, turn = await api.say(lane, "look", attachments=[note["id"], picture["id"]])
        assert turn["text"] == f"nota.txt text/plain b'hola' / None image/png {PNG!r}"
        assert (await api.say(lane, "look"))[1]["text"] == "nothing"
        await api.call("DELETE", f"/v1/conversations/{lane}")
        assert [one["id"] for one in (await api.call("GET", "/v1/me/attachments"))[1]["items"]] == [note["id"]]


async def test_a_message_with_wrong_attachments_is_not_accepted(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        lane, elsewhere = await api.conversation(), await api.conversation()
        _, bound = await upload(api, query=f"?conversation_id={elsewhere}")
        _, kept = await upload(api)
        notes = [(await upload(api, a_note(number), "text/plain"))[1]["id"] for number in range(MAX_ATTACHMENTS + 1)]
        large = [(await upload(api, b"%PDF-" + bytes([n]) * (4 * 2**20), "application/pdf"))[1]["id"] for n in range(3)]
        for wrong in ([bound["id"]], [kept["id"], kept["id"]], notes, large, ["b_00" + "0" * 26], ["b"], "b", [1]):
            status, problem = await api.say(lane, "look", attachments=wrong)
            assert (status, problem["field"].startswith("attachments")) == (400, True), wrong
        assert (await api.call("GET", f"/v1/conversations/{lane}/messages"))[1]["items"] == []
        assert (await api.say(lane, "look", attachments=large[:2]))[0] == 200


async def test_what_one_user_may_keep_is_bounded(tmp_path: Path) -> None:
    async with client(tmp_path, GatewaySettings(attachments_bytes=100)) as api:
        assert (await upload(api))[0] == 201
        status, problem = await upload(api, b"x" * 40, "text/plain")
        assert (status, problem["code"]) == (413, "storage_full")
        assert (await upload(api))[0] == 201, "what is there already takes no more room"


async def test_uploads_held_at_once_are_bounded_and_a_slow_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "MAX_UPLOADS", 1)
    monkeypatch.setattr(edge, "UPLOAD_S", 1.0)
    begun = asyncio.Event()

    async def trickle() -> AsyncIterator[bytes]:
        yield PNG
        begun.set()
        await asyncio.sleep(30)

    async with house(tmp_path) as made, served(made.app) as url, aiohttp.ClientSession() as session:
        api = Client(session, url)
        async with asyncio.TaskGroup() as tasks:
            slow = tasks.create_task(upload(api, trickle()))
            await begun.wait()
            await asyncio.sleep(0.1)
            status, problem = await upload(api)
            assert (status, problem["code"]) == (503, "overloaded")
        assert (await slow)[0] == 400
        assert (await upload(api))[0] == 201


async def test_slow_uploads_of_one_user_keep_nobody_else_from_uploading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "UPLOAD_S", 3.0)
    begun = asyncio.Barrier(edge.MAX_UPLOADS + 1)

    async def trickle() -> AsyncIterator[bytes]:
        yield PNG
        await begun.wait()
        await asyncio.sleep(30)

    async with keyed(tmp_path) as made:
        ben = await key_of(made.house, Owner("acme", "ben"))
        async with asyncio.TaskGroup() as tasks:
            slow = [tasks.create_task(upload(made.api, trickle(), **made.user)) for _ in range(edge.MAX_UPLOADS)]
            async with asyncio.timeout(20):
                await begun.wait()
            assert (await upload(made.api, **ben))[0] == 201
        codes = sorted(status for status, _ in (task.result() for task in slow))
        assert codes == [400] * 3 + [503] * (edge.MAX_UPLOADS - 3)
        assert (await upload(made.api, **made.user))[0] == 201


async def test_export_has_the_bytes_and_erasure_leaves_none(tmp_path: Path) -> None:
    async with client(tmp_path) as api:
        lane = await api.conversation()
        kept = [(await upload(api, a_note(number), "text/plain"))[1] for number in range(3)]
        await api.say(lane, "look", attachments=[kept[1]["id"]])
        _, exported = await api.call("GET", "/v1/me/export")
        assert {one["id"]: b64decode(one["data_base64"]) for one in exported["blobs"]} == {
            one["id"]: a_note(number) for number, one in enumerate(kept)
        }
        assert [turn["attachments"] for turn in exported["turns"]] == [[kept[1]["id"]]]
        _, receipt = await api.call("DELETE", "/v1/me")
        assert receipt["erased"]["blob"] == 3
        _, emptied = await api.call("GET", "/v1/me/export")
        assert (emptied["blobs"], emptied["turns"]) == ([], [])
