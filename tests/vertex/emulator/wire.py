"""A plain HTTP client of the emulator (aiohttp, none of ours in between)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import aiohttp

FLASH = "gemini-3.8-flash"


def path(call: str = "generateContent", *, model: str = FLASH, location: str = "global", version: str = "v1") -> str:
    return f"/{version}/projects/p/locations/{location}/publishers/google/models/{model}:{call}"


def body(text: str = "How can I sleep better?", **fields: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **fields}


@dataclass
class Answer:
    """`is_whole` is false when the connection broke; `content` is what had come by then."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    is_whole: bool = False

    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def message(self) -> str:
        """The message of a refusal; a JSON-array stream holds it as its only element."""
        document = self.json()
        error: dict[str, Any] = (document[0] if isinstance(document, list) else document)["error"]
        assert error["code"] == self.status
        return str(error["message"])

    def documents(self) -> list[Any]:
        """The frames of a stream of events that are whole."""
        frames = self.content.split(b"\r\n\r\n")
        return [json.loads(frame[6:]) for frame in frames if frame.startswith(b"data: ") and frame.endswith(b"}")]

    @property
    def text(self) -> str:
        """The visible text of the first candidate, of a unary answer or of a stream."""
        documents = self.documents() if self.content.startswith(b"data:") else [self.json()]
        return "".join(
            part.get("text", "")
            for document in documents
            for candidate in document.get("candidates", [])[:1]
            for part in candidate["content"].get("parts", [])
            if not part.get("thought")
        )

    @property
    def usage(self) -> dict[str, Any]:
        document = self.documents()[-1] if self.content.startswith(b"data:") else self.json()
        usage: dict[str, Any] = document["usageMetadata"]
        return usage


class Wire:
    """One emulator's calls and control."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        self.base_url = base_url
        self._session = session

    async def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        answer = Answer()
        try:
            async with self._session.request(method, self.base_url + path, data=data, headers=headers) as reply:
                answer.status = reply.status
                answer.headers = {name.lower(): value for name, value in reply.headers.items()}
                async for piece in reply.content.iter_any():
                    answer.content += piece
                answer.is_whole = True
        except aiohttp.ClientError:
            pass
        return answer

    async def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Answer:
        return await self.call("POST", path, body, headers)

    async def generate(self, body: Any, headers: dict[str, str] | None = None, **place: Any) -> Answer:
        return await self.post(path(**place), body, headers)

    async def stream(self, body: Any, headers: dict[str, str] | None = None, **place: Any) -> Answer:
        return await self.post(path("streamGenerateContent", **place) + "?alt=sse", body, headers)

    async def order(self, **order: Any) -> dict[str, Any]:
        answer = await self.post("/_control", order)
        assert answer.status == 200, answer.content
        state: dict[str, Any] = answer.json()
        return state

    async def script(self, *faults: dict[str, Any]) -> None:
        await self.order(faults=list(faults))

    async def state(self) -> dict[str, Any]:
        state: dict[str, Any] = (await self.call("GET", "/_control")).json()
        return state
