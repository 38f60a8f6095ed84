"""A client that does what the API's guide says when a server leaves or is killed, and notes whatever a user would see.

It asks, listens to the events and comes back with the last id when the stream ends early (or with the key of its
question, when it waits for the whole answer), and compares what it heard with what is stored. Any status but the
expected one, any lost or doubled text is trouble.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

PAGE = 50  # turns of a conversation, all of whose messages are on one page
TRIES = 60
ENDS = ("turn.completed", "turn.failed", "turn.cancelled")


class _Heard:
    """How far one turn's events have been read."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.text = ""
        self.turn_id = ""
        self.last_id = ""
        self.retry_s = 0.0
        self.is_ended = False

    def take(self, block: dict[str, str]) -> None:
        self.retry_s = float(block.get("retry", 1000 * self.retry_s)) / 1000
        self.last_id = block.get("id", self.last_id)
        data = json.loads(block.get("data", "{}"))
        self.turn_id = data.get("turn_id", self.turn_id)
        match block.get("event"):
            case "text.delta":
                self.text += data["text"]
            case "text.reset":
                self.text = ""
            case name:
                self.is_ended = name in ENDS


class SteadyClient:
    """`bears_kills`: a broken connection is no trouble, only a reason to come back."""

    def __init__(self, session: aiohttp.ClientSession, url: str, *, bears_kills: bool = False) -> None:
        self._session = session
        self._url = url
        self._broken: tuple[type[Exception], ...] = (aiohttp.ClientError, OSError) if bears_kills else ()
        self.trouble: list[str] = []
        self.turns = 0
        self.came_back = 0

    async def ask_until(self, done: asyncio.Event, *, is_streamed: bool) -> None:
        conversation_id, answers = "", PAGE
        while not done.is_set():
            if answers == PAGE:
                conversation_id, answers = str((await self._json("POST", "/v1/conversations", 201, {}))["id"]), 0
            path = f"/v1/conversations/{conversation_id}/turns"
            body = {"text": f"Dame un consejo número {self.turns}"}
            said = await (self._heard if is_streamed else self._answered)(path, body)
            self.turns, answers = self.turns + 1, answers + 1
            page = await self._json("GET", f"/v1/conversations/{conversation_id}/messages?limit=200", 200)
            texts = [item["text"] for item in page["items"] if item["role"] == "assistant"]
            if len(texts) != answers or texts[-1] != said:
                self.trouble.append(f"heard {said!r}, stored {texts[-1:]!r}, {len(texts)} of {answers}")

    async def _heard(self, path: str, body: object) -> str:
        """The text of one turn, over as many connections as it takes."""
        heard = _Heard(f"{id(self)}-{self.turns}")
        for _ in range(TRIES):
            try:
                if await self._listened(path, body, heard):
                    return heard.text
            except self._broken:
                pass
            self.came_back += 1
            await asyncio.sleep(max(0.05, heard.retry_s))
        self.trouble.append(f"{heard.turn_id} never ended")
        return heard.text

    async def _listened(self, path: str, body: object, heard: _Heard) -> bool:
        """One connection; whether there is nothing more to come."""
        headers = {"Accept": "text/event-stream", "Idempotency-Key": heard.key}
        if heard.turn_id:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": heard.last_id}
            asking = self._session.get(f"{self._url}/v1/turns/{heard.turn_id}/events", headers=headers)
        else:
            asking = self._session.post(self._url + path, json=body, headers=headers)
        async with asking as answer:
            if answer.status == 503 and heard.turn_id:
                heard.retry_s = float(answer.headers["Retry-After"])
                return False
            if answer.status != 200:
                self.trouble.append(f"{answer.method} {answer.status}: {await answer.text()}")
                return True
            async for block in _blocks(answer):
                heard.take(block)
                if heard.is_ended:
                    return True
        return False

    async def _answered(self, path: str, body: object) -> str:
        """The text of one turn as a whole; a turn that went elsewhere is asked for again, under its key."""
        headers = {"Idempotency-Key": f"{id(self)}-{self.turns}"}
        for _ in range(TRIES):
            try:
                async with self._session.post(self._url + path, json=body, headers=headers) as answer:
                    view = await answer.json(content_type=None)
                    if answer.status == 200:
                        return str(view["text"])
                    if view["code"] != "draining":
                        self.trouble.append(f"POST {answer.status}: {view}")
                        return ""
                    wait_s = float(answer.headers["Retry-After"])
            except self._broken:
                wait_s = 0.05
            self.came_back += 1
            await asyncio.sleep(wait_s)
        self.trouble.append("never answered")
        return ""

    async def _json(self, method: str, path: str, status: int, body: object = None) -> dict[str, Any]:
        for _ in range(TRIES):
            try:
                async with self._session.request(method, self._url + path, json=body) as answer:
                    text = await answer.text()
                    if answer.status != status:
                        self.trouble.append(f"{method} {path} {answer.status}: {text}")
                    answered: dict[str, Any] = json.loads(text)
                    return answered
            except self._broken:
                await asyncio.sleep(0.05)
        raise AssertionError(f"{path} is not answered")


async def _blocks(answer: aiohttp.ClientResponse) -> AsyncIterator[dict[str, str]]:
    rest = b""
    async for chunk in answer.content.iter_any():
        *frames, rest = (rest + chunk).split(b"\n\n")
        for frame in frames:
            yield dict(line.split(": ", 1) for line in frame.decode().split("\n") if not line.startswith(":"))
