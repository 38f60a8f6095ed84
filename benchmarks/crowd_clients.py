"""The clients of `crowd` and `registered`: a process of its own, open loop, with little work for each event.

Turns come as a Poisson process, each of a user who has none open, and are read as events over a plain protocol that
speaks just enough HTTP. Nobody obeys or comes again: whatever is not a model's whole answer is counted by what it was.
The order is the first line of stdin; a report per phase goes to stdout.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import socket
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import msgspec
import uvloop
from typing_extensions import override

from benchmarks.load import DIGITS, percentile

TAIL_BYTES = 2048  # where the end of an answer is looked for
PATIENCE_S = 60.0
SMALL_BUFFER_BYTES = 2048
CLOCK = time.perf_counter


class Phase(msgspec.Struct, kw_only=True):
    """`rate_per_s` turns for `seconds`, told of are those that begin after `settle_s`. So many `stalled` readers ask
    at its beginning and read nothing."""

    name: str
    rate_per_s: float
    seconds: float
    settle_s: float = 0.0
    stalled: int = 0


class Order(msgspec.Struct, kw_only=True):
    """`tokens` and `conversations` are those of the users, in the same order."""

    url: str
    tokens: list[str]
    conversations: list[str]
    text: str
    phases: list[Phase]
    seed: int = 1


class Told(msgspec.Struct, kw_only=True):
    """Of the turns that began in a phase after it had settled. `late_s` is how late the clients themselves were woken,
    the 95th percentile; `cpu_s` theirs in the whole phase."""

    name: str
    asked: int = 0
    answered: int = 0
    refused: int = 0
    lost: int = 0
    most_open: int = 0
    first_p95_s: float = 0.0
    first_p99_s: float = 0.0
    whole_p95_s: float = 0.0
    late_s: float = 0.0
    cpu_s: float = 0.0


class _Count:
    """What comes of the turns that began in one phase."""

    def __init__(self, name: str) -> None:
        self.told = Told(name=name)
        self.firsts_s: list[float] = []
        self.wholes_s: list[float] = []
        self.lates_s: list[float] = []

    def finished(self) -> Told:
        told = self.told
        firsts_s, wholes_s, lates_s = sorted(self.firsts_s), sorted(self.wholes_s), sorted(self.lates_s)
        told.first_p95_s, told.first_p99_s = percentile(firsts_s, 0.95), percentile(firsts_s, 0.99)
        told.whole_p95_s, told.late_s = percentile(wholes_s, 0.95), percentile(lates_s, 0.95)
        return told


class Connection(asyncio.Protocol):
    """One turn at a time."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._count: _Count | None = None
        self._user = -1
        self._began_s = 0.0
        self._has_begun = False
        self._tail = b""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it

    def ask(self, user: int, count: _Count | None, request: bytes) -> None:
        self._user, self._count = user, count
        self._began_s, self._has_begun, self._tail = CLOCK(), False, b""
        self._transport.write(request)

    def stall(self) -> None:
        self._transport.pause_reading()

    @override
    def data_received(self, data: bytes) -> None:
        tail = self._tail = (self._tail + data)[-TAIL_BYTES:]
        if not self._has_begun and b"event: text.delta" in tail:
            self._has_begun = True
            if self._count is not None:
                self._count.firsts_s.append(CLOCK() - self._began_s)
        if tail.endswith(b"\r\n0\r\n\r\n"):
            is_whole = b"event: turn.completed" in tail and b'"source":"model"' in tail
            self._end("answered" if is_whole else "lost")
            self._clients.idle.append(self)
        elif tail.startswith((b"HTTP/1.1 429", b"HTTP/1.1 503")):
            self._end("refused")
            self._transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._end("lost")

    def _end(self, what: str) -> None:
        if self._user < 0:
            return
        if self._count is not None:
            setattr(self._count.told, what, getattr(self._count.told, what) + 1)
            if what == "answered":
                self._count.wholes_s.append(CLOCK() - self._began_s)
        self._clients.free.append(self._user)
        self._clients.ended.set()
        self._user = -1


class Clients:
    def __init__(self, order: Order) -> None:
        self.free = list(range(len(order.tokens)))
        self.idle: list[Connection] = []
        self.ended = asyncio.Event()
        self._order = order
        self._random = random.Random(order.seed)
        self._random.shuffle(self.free)
        self._numbers = itertools.count(time.time_ns() // 1000)
        parts = urlsplit(order.url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        body = msgspec.json.encode({"text": f"{order.text} {0:0{DIGITS}}"})
        fields = f"host: {parts.netloc}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\n"
        self._head = f" HTTP/1.1\r\n{fields}content-length: {len(body)}\r\nauthorization: Bearer "
        self._body = body[: -DIGITS - 2].decode()

    async def run(self) -> list[Told]:
        counts = [await self._phase(phase) for phase in self._order.phases]
        stalled = sum(phase.stalled for phase in self._order.phases)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while len(self.free) < len(self._order.tokens) - stalled:
                    self.ended.clear()
                    await self.ended.wait()
        return [count.finished() for count in counts]

    async def _phase(self, phase: Phase) -> _Count:
        count, cpu_s = _Count(phase.name), time.process_time()
        began_s = next_s = CLOCK()
        async with asyncio.TaskGroup() as group:
            for _ in range(phase.stalled):
                group.create_task(self._stall())
            while (next_s := next_s + self._random.expovariate(phase.rate_per_s)) < began_s + phase.seconds:
                if (early_s := next_s - CLOCK()) > 0.0:
                    await asyncio.sleep(early_s)
                is_told = next_s >= began_s + phase.settle_s
                if is_told:
                    count.told.asked += 1
                    count.lates_s.append(CLOCK() - next_s)
                    count.told.most_open = max(count.told.most_open, len(self._order.tokens) - len(self.free))
                group.create_task(self._come(count if is_told else None))
        count.told.cpu_s = time.process_time() - cpu_s
        return count

    async def _come(self, count: _Count | None) -> None:
        if not self.free:
            raise RuntimeError("more users are busy than there are")
        # those who were free longest come next: nobody asks again at once
        user = self.free.pop(0)
        connection = self.idle.pop() if self.idle else await self._connected()
        connection.ask(user, count, self._request(user))

    async def _stall(self) -> None:
        """A reader with the least of buffers, that takes nothing of what it asked for."""
        loop, made = asyncio.get_running_loop(), socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER_BYTES)
        made.setblocking(False)
        await loop.sock_connect(made, (self._host, self._port))
        _, connection = await loop.create_connection(lambda: Connection(self), sock=made)
        user = self.free.pop(0)
        connection.ask(user, None, self._request(user))
        connection.stall()

    async def _connected(self) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port)
        return connection

    def _request(self, user: int) -> bytes:
        order = self._order
        number = f"{next(self._numbers):0{DIGITS}}"
        return (
            f"POST /v1/conversations/{order.conversations[user]}/turns{self._head}{order.tokens[user]}\r\n\r\n"
            f'{self._body}{number}"}}'
        ).encode()


async def main(order: Order) -> list[Told]:
    return await Clients(order).run()


if __name__ == "__main__":
    told = uvloop.run(main(msgspec.json.decode(sys.stdin.readline(), type=Order)))
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")
