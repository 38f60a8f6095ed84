"""The load generator: a process of its own that keeps a number of turns in flight and checks every answer.

One plain protocol per connection, HTTP/1.1 kept alive; it speaks just enough HTTP to tell where an answer ends.
It reads its order (a JSON `Order`) as the first line of stdin, connects, says `ready` on stdout, waits for another
line, runs, and says a JSON `Report` when every turn it began has ended.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import time
from collections import deque
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop
from typing_extensions import override

CONNECT_LIMIT_S = 10.0
TURN_LIMIT_S = 60.0
DIGITS = 16


class Order(msgspec.Struct, kw_only=True):
    """`concurrency` turns at a time, each conversation at most one and `turns_each` in all, until `seconds` are over.

    `conversations` are all there are; the first `open_conversations` are used first, and each is replaced by a fresh
    one when it is used up.
    """

    url: str
    api_key: str
    conversations: list[str]
    text: str
    concurrency: int
    open_conversations: int
    turns_each: int
    seconds: float
    streams: bool = False


class Report(msgspec.Struct, kw_only=True):
    """`events` is how many text deltas arrived, `body_bytes` the size of all answers."""

    turns: int
    seconds: float
    p50_ms: float
    p99_ms: float
    events: int
    body_bytes: int
    error: str = ""


class Connection(asyncio.Protocol):
    """One turn at a time: request out, answer checked when it is whole."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._parts: list[bytes] = []
        self._began_s = 0.0
        self._conversation = ""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def ask(self, conversation: str) -> None:
        self._conversation = conversation
        self._began_s = time.perf_counter()
        self._transport.write(self._load.request(conversation))

    @override
    def data_received(self, data: bytes) -> None:
        self._parts.append(data)
        if not self._load.order.streams:
            answer = b"".join(self._parts)
            head_end = answer.find(b"\r\n\r\n")
            if head_end < 0 or len(answer) < head_end + 4 + _content_length(answer[:head_end]):
                return
        elif data.endswith(b"0\r\n\r\n") or answer_ended(self._parts):
            answer = b"".join(self._parts)
        else:
            return
        self._parts = []
        self._load.answered(self, self._conversation, answer, time.perf_counter() - self._began_s)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._load.lost()


def answer_ended(parts: list[bytes]) -> bool:
    """Whether the chunked body has ended, or the answer is an error of a known length."""
    answer = b"".join(parts[:1] if len(parts) == 1 else parts[-2:])
    if answer.endswith(b"0\r\n\r\n"):
        return True
    head, found, body = answer.partition(b"\r\n\r\n")
    return bool(found) and b"content-length" in head.lower() and len(body) >= _content_length(head)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


class Load:
    def __init__(self, order: Order) -> None:
        self.order = order
        parts = urlsplit(order.url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        empty = msgspec.json.encode({"text": f"{order.text} {0:0{DIGITS}}"})
        head, self._end = empty[: -DIGITS - 2], empty[-2:]
        self._asked = itertools.count(time.time_ns() // 1000)  # no two questions alike, or a kept answer would be given
        accept = "text/event-stream" if order.streams else "application/json"
        self._tail = (
            f" HTTP/1.1\r\nhost: {parts.netloc}\r\nauthorization: Bearer {order.api_key}\r\naccept: {accept}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(empty)}\r\n\r\n"
        ).encode() + head
        self._free = deque((name, order.turns_each) for name in order.conversations[: order.open_conversations])
        self._fresh = iter(order.conversations[order.open_conversations :])
        self._left: dict[str, int] = {}
        self._latencies_ms: list[float] = []
        self._events = self._body_bytes = 0
        self._in_flight = 0
        self._until_s = 0.0
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def request(self, conversation: str) -> bytes:
        number = b"%0*d" % (DIGITS, next(self._asked))
        return b"POST /v1/conversations/" + conversation.encode() + b"/turns" + self._tail + number + self._end

    async def connect(self) -> list[Connection]:
        loop = asyncio.get_running_loop()
        connections = []
        async with asyncio.timeout(CONNECT_LIMIT_S):
            for _ in range(self.order.concurrency):
                _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
                connections.append(connection)
        return connections

    async def run(self, connections: list[Connection]) -> Report:
        began_s = time.perf_counter()
        self._until_s = began_s + self.order.seconds
        for connection in connections:
            self._next(connection)
        error = ""
        try:
            async with asyncio.timeout(self.order.seconds + TURN_LIMIT_S):
                await self._done
        except (RuntimeError, TimeoutError) as exc:
            error = str(exc) or "turns did not end"
        seconds, latencies_ms = time.perf_counter() - began_s, sorted(self._latencies_ms)
        return Report(
            turns=len(latencies_ms), seconds=seconds, error=error, events=self._events, body_bytes=self._body_bytes,
            p50_ms=percentile(latencies_ms, 0.5), p99_ms=percentile(latencies_ms, 0.99),
        )  # fmt: skip

    def answered(self, connection: Connection, conversation: str, answer: bytes, elapsed_s: float) -> None:
        self._in_flight -= 1
        trouble = self._trouble(answer)
        if trouble:
            self._fail(trouble)
            return
        self._latencies_ms.append(elapsed_s * 1000)
        self._body_bytes += len(answer)
        left = self._left.pop(conversation) - 1
        fresh = (conversation, left) if left > 0 else self._replacement()
        if fresh is not None:
            self._free.append(fresh)
        self._next(connection)

    def lost(self) -> None:
        self._fail("the server closed a connection")

    def _next(self, connection: Connection) -> None:
        if time.perf_counter() < self._until_s and self._free:
            conversation, left = self._free.popleft()
            self._left[conversation] = left
            self._in_flight += 1
            connection.ask(conversation)
        elif self._in_flight == 0 and not self._done.done():
            self._done.set_result(None)

    def _replacement(self) -> tuple[str, int] | None:
        name = next(self._fresh, None)
        return (name, self.order.turns_each) if name is not None else None

    def _trouble(self, answer: bytes) -> str:
        """Why this is not a model's whole answer; empty when it is one."""
        if not answer.startswith(b"HTTP/1.1 200"):
            return answer[:400].decode("latin-1")
        if b'"source":"model"' not in answer:
            return f"not from the model: {answer[-500:].decode('latin-1')}"
        if self.order.streams:
            self._events += answer.count(b"event: text.delta")
            return "" if b"event: turn.completed" in answer else f"not completed: {answer[-500:]!r}"
        return "" if b'"status":"completed"' in answer else f"not completed: {answer[-500:]!r}"

    def _fail(self, trouble: str) -> None:
        if not self._done.done():
            self._done.set_exception(RuntimeError(trouble))


def percentile(ordered: list[float], share: float) -> float:
    """0 of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def main(order: Order) -> None:
    load = Load(order)
    connections = await load.connect()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.readline)
    report = await load.run(connections)
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.stdin.readline(), type=Order)))
