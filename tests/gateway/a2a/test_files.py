"""Files that callers send: kept as attachments if they are what they say, shown to whoever answers, never fetched."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from ngx_agents.agents.test_agent import WithTestAgent
from ngx_agents.agents.turn import TurnTask
from ngx_agents.gateway import uploads
from ngx_agents.gateway.application import create_app
from ngx_agents.gateway.settings import GatewaySettings
from ngx_agents.state.blobs import MAX_BLOB_BYTES
from ngx_agents.turns.attachments import MAX_ATTACHMENTS
from tests.gateway.a2a.wire import BINDINGS, Caller, NamedTeam, Refused, a2a_settings, deps_of
from tests.gateway.serving import house, served

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 10
TEXT = {"text": "what is this?"}


@dataclass
class Asking:
    on: Caller
    tasks: list[TurnTask]

    async def send(self, *parts: dict[str, Any], **more: Any) -> Any:
        return await self.on.task("", parts=[TEXT, *parts], tenant="parrot", **more)

    async def kept(self) -> list[Any]:
        async with self.on.session.get(f"{self.on.url}/v1/me/attachments") as answer:
            found: list[Any] = (await answer.json())["items"]
            return found


@asynccontextmanager
async def asking(path: Path, binding: str, **more: Any) -> AsyncIterator[Asking]:
    team = NamedTeam()
    async with house(path, team=WithTestAgent(team)) as made:
        app = create_app(deps_of(made, a2a_settings(**more)), GatewaySettings())
        async with served(app) as url, aiohttp.ClientSession() as session:
            yield Asking(Caller(session, url, binding, {"A2A-Version": "1.0"}), team.tasks)


@pytest.fixture(params=BINDINGS)
async def a(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asking]:
    async with asking(tmp_path, request.param, attachments_bytes=2 * MAX_BLOB_BYTES) as made:
        yield made


def a_file(data: bytes = PNG, media_type: str = "image/png", **more: str) -> dict[str, Any]:
    return {"raw": base64.b64encode(data).decode(), "mediaType": media_type, **more}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([a_file(b"GIF89a...")], "not image/png"),
        ([a_file(b"%PDF-1.7", "image/png")], "not image/png"),
        ([a_file(b"")], "exactly one of|not image/png"),
        ([a_file(b"\0\1", "text/plain")], "not text/plain"),
        ([a_file(filename="../x.png")], "name"),
        ([a_file(filename="x" * 300)], "name"),
        ([a_file(PNG + bytes([number])) for number in range(MAX_ATTACHMENTS + 1)], "8 files at most"),
        ([a_file(b"\0" * 10, "video/mp4")], "takes"),
        ([a_file(PNG + b"\0" * MAX_BLOB_BYTES)], "larger than"),
    ],
)
async def test_what_is_no_attachment_is_refused_and_nothing_is_kept(a: Asking, parts: list[Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        await a.send(*parts)
    assert (await a.kept(), a.tasks) == ([], [])


async def test_a_file_is_kept_shown_and_linked(a: Asking) -> None:
    for _ in range(2):
        task = await a.send(a_file(filename="plate.png"), a_file(b"a,b\n1,2\n", "text/csv"))
        assert task["status"]["state"] == "TASK_STATE_COMPLETED"
        shown = [(one.media_type, one.data, one.name) for one in a.tasks[-1].attachments]
        assert shown == [("image/png", PNG, "plate.png"), ("text/csv", b"a,b\n1,2\n", None)]
        assert "plate.png: image/png" in a.tasks[-1].text
        said, picture, _ = task["history"][0]["parts"]
        assert said == TEXT
        assert (picture["filename"], picture["mediaType"]) == ("plate.png", "image/png")
        async with a.on.session.get(picture["url"]) as answer:
            assert (answer.status, await answer.read()) == (200, PNG)
    kept = {one["name"]: one for one in await a.kept() if one["conversation_id"] == a.tasks[-1].conversation_id}
    assert kept["plate.png"]["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert set(kept) == {"plate.png", None}


async def test_a_file_said_twice_is_one(a: Asking) -> None:
    again = a.on.having(Idempotency_Key="k-1")
    first, second = [await Asking(again, a.tasks).send(a_file(), a_file(), contextId="mine") for _ in range(2)]
    assert first["id"] == second["id"]
    assert len(a.tasks) == len(await a.kept()) == len(a.tasks[0].attachments) == 1


async def test_a_file_without_a_type_is_what_its_bytes_are(a: Asking) -> None:
    for told in ("", "application/octet-stream"):
        await a.send(a_file(media_type=told))
        assert [one.media_type for one in a.tasks[-1].attachments] == ["image/png"]
    with pytest.raises(Refused, match="takes"):
        await a.send(a_file(b"who knows", media_type=""))


async def test_a_link_is_named_and_not_fetched(a: Asking) -> None:
    asked: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        link = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x.png"
        await a.send({"url": link, "mediaType": "image/png", "filename": "x.png"})
    assert link in a.tasks[-1].text
    assert (a.tasks[-1].attachments, await a.kept(), asked) == ((), [], [])


async def test_a_large_file_passes_and_one_user_has_so_much_room(a: Asking) -> None:
    for number in (1, 2):
        whole = PNG + bytes([number]) * (MAX_BLOB_BYTES - len(PNG))
        assert (await a.send(a_file(whole)))["status"]["state"] == "TASK_STATE_COMPLETED"
        assert a.tasks[-1].attachments[0].data == whole
    with pytest.raises(Refused, match="delete something first"):
        await a.send(a_file())
    assert len(a.tasks) == 2


async def test_large_bodies_are_so_many_at_once_and_no_larger_than_their_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "MAX_UPLOADS_OF_USER", 1)
    async with asking(tmp_path, "rest", max_body_bytes=1000, max_file_body_bytes=4000) as a:
        large = a_file(PNG + b"\0" * 1000)
        with pytest.raises(Refused) as refused:
            await a.send(a_file(PNG + b"\0" * 4000))
        assert refused.value.status == 413
        waiting = asyncio.create_task(a.on.task("", parts=[{"text": "wait here"}, large], tenant="parrot"))
        while not a.tasks:  # noqa: ASYNC110  # what is awaited tells nobody
            await asyncio.sleep(0.01)
        with pytest.raises(Refused) as refused:
            await a.send(large)
        assert refused.value.status == 503
        assert (await a.send(a_file()))["status"]["state"] == "TASK_STATE_COMPLETED"
        waiting.cancel()
