"""The bare handler that turns are compared with: the least Python that makes the same model call and stores as much.

Raw ASGI on uvicorn: decode the message, commit the user's row, call the model with the bytes the real server sent,
commit the answer's row, reply. No authentication, history, routing, safety, metrics, ids, recovery or reconnects.
Rows go to SQLite (WAL, synchronous FULL) through one writer thread with group commit.

    python -m benchmarks.bare --port 8001 --model-url http://127.0.0.1:8089/… --prompt prompt.json --data-dir folder
"""

from __future__ import annotations

import argparse
import asyncio
import queue
import sqlite3
import threading
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from pyreqwest.client import Client, ClientBuilder
from starlette.types import Receive, Scope, Send

Row = tuple[str, str, str]
BATCH = 256
JSON = [(b"content-type", b"application/json")]
CALL_HEADERS = {"content-type": "application/json"}
EVENTS = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Question(msgspec.Struct):
    text: str


class Part(msgspec.Struct):
    text: str = ""


class Content(msgspec.Struct):
    parts: list[Part] = []


class Candidate(msgspec.Struct):
    content: Content


class Reply(msgspec.Struct):
    candidates: list[Candidate] = []

    @property
    def text(self) -> str:
        return "".join(part.text for candidate in self.candidates for part in candidate.content.parts)


class Answer(msgspec.Struct):
    text: str
    status: str = "completed"
    source: str = "model"


_question = msgspec.json.Decoder(Question)
_reply = msgspec.json.Decoder(Reply)
_encode = msgspec.json.Encoder().encode


class Rows:
    """One thread writes; what queues while it commits is its next transaction."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[tuple[Row, asyncio.Future[None]]] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._main, name="bare-writer", daemon=True).start()

    def add(self, *row: str) -> asyncio.Future[None]:
        """Durable when the future is done."""
        stored: asyncio.Future[None] = self._loop.create_future()
        conversation, role, text = row
        self._queue.put(((conversation, role, text), stored))
        return stored

    def _main(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE message (id INTEGER PRIMARY KEY, conversation TEXT, role TEXT, text TEXT)")
        while True:
            batch = [self._queue.get()]
            while len(batch) < BATCH and not self._queue.empty():
                batch.append(self._queue.get())
            db.execute("BEGIN IMMEDIATE")
            for row, _ in batch:
                db.execute("INSERT INTO message (conversation, role, text) VALUES (?, ?, ?)", row)
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_settle, [stored for _, stored in batch])


def _settle(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Bare:
    """The application. `prompt` is the body of every model call."""

    def __init__(self, model_url: str, prompt: bytes, path: Path) -> None:
        self._url = model_url
        self._streams = model_url.endswith("alt=sse")
        self._prompt = prompt
        self._path = path
        self._rows: Rows | None = None
        self._client: Client | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._rows is None or self._client is None:
            self._rows = Rows(self._path)
            self._client = ClientBuilder().no_proxy().build()
        if scope["method"] == "GET":
            await _send_whole(send, b"{}")
            return
        text = _question.decode((await receive())["body"]).text
        conversation: str = scope["path"].split("/", 4)[3]
        await self._rows.add(conversation, "user", text)
        if b"text/event-stream" in dict(scope["headers"]).get(b"accept", b""):
            await send({"type": "http.response.start", "status": 200, "headers": EVENTS})
            said = await self._said(self._client, send)
            await self._rows.add(conversation, "assistant", said)
            await send({"type": "http.response.body", "body": _event("turn.completed", Answer("")), "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        else:
            said = await self._said(self._client, None)
            await self._rows.add(conversation, "assistant", said)
            await _send_whole(send, _encode(Answer(said)))

    async def _said(self, client: Client, send: Send | None) -> str:
        """The model's answer, told to `send` piece by piece as it arrives."""
        call = client.post(self._url).headers(CALL_HEADERS).body_bytes(self._prompt)
        if not self._streams:
            response = await call.build().send()
            return _reply.decode((await response.bytes()).to_bytes()).text
        said: list[str] = []
        rest = b""
        async with call.streamed_read_buffer_limit(0).build_streamed() as streamed:
            while (chunk := await streamed.body_reader.read_chunk()) is not None:
                *frames, rest = (rest + chunk.to_bytes()).split(b"\r\n\r\n")
                for frame in frames:
                    text = _reply.decode(frame[6:]).text
                    said.append(text)
                    if send is not None:
                        body = _event("text.delta", {"text": text})
                        await send({"type": "http.response.body", "body": body, "more_body": True})
        return "".join(said)


def _event(name: str, data: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode(data))


async def _send_whole(send: Send, body: bytes) -> None:
    headers = [*JSON, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-url", required=True)
    parser.add_argument("--prompt", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    args = parser.parse_args()
    app = Bare(args.model_url, args.prompt.read_bytes(), args.data_dir / "rows.db")
    uvicorn.run(
        app, port=args.port, loop="uvloop", http="httptools", ws="none", lifespan="off",
        access_log=False, log_level="warning", backlog=2048,
    )  # fmt: skip


if __name__ == "__main__":
    main()
