"""Many users with a secret each, at once, with cancels and cut streams: no secret is ever seen by another user."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp
import jwt
from tests.emulator_process import start_emulator
from tests.server_process import ServerProcess

from ngx_agents.clock import Rng

USERS = 40
TURNS = 4
SECRET = "a-shared-secret-of-at-least-32-bytes"
CANARY = re.compile(r"canary-(\d+)-")


class User:
    """`seen` is every byte the server ever sent to this user."""

    def __init__(self, number: int, base_url: str, session: aiohttp.ClientSession, rng: Rng) -> None:
        token = jwt.encode({"sub": f"user-{number}", "exp": 4_000_000_000}, SECRET, algorithm="HS256")
        self.number = number
        self.seen = ""
        self._headers = {"Authorization": f"Bearer {token}"}
        self._base_url = base_url
        self._session = session
        self._rng = rng

    async def live(self) -> None:
        profile = {"name": f"canary-{self.number}-name", "goals": [f"canary-{self.number}-goal"]}
        await self._call("PUT", "/v1/me/profile", profile)
        conversation = re.search(r"c_[0-9a-zA-Z]+", await self._call("POST", "/v1/conversations", {}))
        assert conversation is not None
        for number in range(TURNS):
            await self._turn(conversation[0], number)
        for path in (f"/v1/conversations/{conversation[0]}/messages", "/v1/me/export", "/v1/me/artifacts"):
            await self._call("GET", path)

    async def _turn(self, conversation_id: str, number: int) -> None:
        path = f"/v1/conversations/{conversation_id}/turns"
        body = {"text": f"Recuerda canary-{self.number}-{number} y dame un consejo de entrenamiento"}
        how = self._rng.random()
        if how < 0.4:
            await self._call("POST", path, body)
        elif how < 0.7:
            await self._listen(path, body, cut=self._rng.random() < 0.5)
        else:
            told = await self._call("POST", path, body, {"Prefer": "respond-async"})
            turn = re.search(r"t_[0-9a-zA-Z]+", told)
            assert turn is not None
            await self._call("POST", f"/v1/turns/{turn[0]}/cancel")

    async def _listen(self, path: str, body: dict[str, str], *, cut: bool) -> None:
        headers = {**self._headers, "Accept": "text/event-stream"}
        async with self._session.post(self._base_url + path, json=body, headers=headers) as answer:
            async for line in answer.content:
                self.seen += line.decode()
                if cut and "text.delta" in self.seen:
                    return

    async def _call(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> str:
        merged = {**self._headers, **(headers or {})}
        async with self._session.request(method, self._base_url + path, json=body, headers=merged) as answer:
            text = await answer.text()
        self.seen += text
        return text


async def test_no_secret_of_one_user_is_seen_by_another(tmp_path: Path) -> None:
    auth = {"NGX_AUTH": "jwt", "NGX_JWT_SECRET": SECRET}
    with (
        start_emulator(ttft_ms=5, chunks=6, chunk_gap_ms=2) as model_url,
        ServerProcess(tmp_path, NGX_VERTEX_BASE_URL=model_url, NGX_SERVER_LOG_LEVEL="error", **auth) as server,
    ):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as session:
            users = [User(number, server.base_url, session, Rng(number)) for number in range(USERS)]
            async with asyncio.TaskGroup() as tasks:
                for user in users:
                    tasks.create_task(user.live())
    for user in users:
        found = {int(number) for number in CANARY.findall(user.seen)}
        assert found == {user.number}
