"""The clients of the overload benchmark: a process of its own, open loop, that obeys what it is told.

Turns come as a Poisson process whose rate follows the order's phases, whatever the server does with them. Each is of
one of many users, of a class by chance, and is read as events to its end. Who is refused comes again when told, twice
at most and only if that is soon; whoever has waited for `patience_s` leaves. The order is the first line of stdin; a
report per phase goes to stdout.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time

import aiohttp
import msgspec
import uvloop

TRIES = 3
SOON_S = 60.0


class Load(msgspec.Struct, kw_only=True):
    """`rate_per_s` turns of `tenant` for `seconds`; `shares` of the classes. `name` is for the report."""

    name: str
    rate_per_s: float
    seconds: float


class Order(msgspec.Struct, kw_only=True):
    """`tokens` and `conversations` are those of the users, in the same order."""

    url: str
    tokens: list[str]
    conversations: list[str]
    text: str
    phases: list[Load]
    shares: tuple[float, ...] = (0.2, 0.5, 0.3)
    patience_s: float = 60.0
    seed: int = 1


class Phase(msgspec.Struct, kw_only=True):
    """By when a turn first came, but `ended_in` by when it ended. `served` are the model's own answers."""

    name: str
    seconds: float
    offered: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    served: list[int] = msgspec.field(default_factory=lambda: [0, 0, 0, 0])
    other_answers: int = 0
    refused: int = 0
    failed: int = 0
    left: int = 0
    obeyed: int = 0
    obeyed_in_vain: int = 0
    ended_in: int = 0
    latencies_s: list[float] = []
    firsts_s: list[float] = []


class Clients:
    def __init__(self, order: Order, session: aiohttp.ClientSession) -> None:
        self._order = order
        self._session = session
        self._random = random.Random(order.seed)
        self._numbers = itertools.count(time.time_ns())
        self._free = list(range(len(order.tokens)))
        self._random.shuffle(self._free)
        self._now: Phase | None = None

    async def run(self) -> list[Phase]:
        phases = []
        async with asyncio.TaskGroup() as group:
            for load in self._order.phases:
                phase = self._now = Phase(name=load.name, seconds=load.seconds, latencies_s=[], firsts_s=[])
                phases.append(phase)
                until_s = time.perf_counter() + load.seconds
                next_s = time.perf_counter()
                while (next_s := next_s + self._random.expovariate(load.rate_per_s)) < until_s:
                    await asyncio.sleep(next_s - time.perf_counter())
                    group.create_task(self._come(phase))
                await asyncio.sleep(max(0.0, until_s - time.perf_counter()))
            self._now = None
        return phases

    async def _come(self, phase: Phase) -> None:
        if not self._free:
            raise RuntimeError("more users are busy than there are")
        user = self._free.pop()
        turn_class = self._random.choices(range(len(self._order.shares)), self._order.shares)[0]
        phase.offered[turn_class] += 1
        try:
            async with asyncio.timeout(self._order.patience_s):
                await self._ask(phase, user, turn_class)
        except TimeoutError:
            phase.left += 1
        except aiohttp.ClientError:
            phase.failed += 1
        finally:
            self._free.insert(0, user)

    async def _ask(self, phase: Phase, user: int, turn_class: int) -> None:
        order, began_s, has_obeyed = self._order, time.perf_counter(), False
        body = {"text": f"{order.text} {next(self._numbers)}", "class": turn_class}
        headers = {"authorization": f"Bearer {order.tokens[user]}", "accept": "text/event-stream"}
        path = f"{order.url}/v1/conversations/{order.conversations[user]}/turns"
        for _ in range(TRIES):
            phase.obeyed += has_obeyed
            async with self._session.post(path, json=body, headers=headers) as answer:
                if answer.status == 200:
                    await self._read(phase, answer, turn_class, began_s)
                    return
                if answer.status not in (429, 503):
                    phase.failed += 1
                    return
                phase.refused += 1
                phase.obeyed_in_vain += has_obeyed
                wait_s = float(answer.headers["retry-after"])
            if wait_s > SOON_S:
                return
            has_obeyed = True
            await asyncio.sleep(wait_s)

    async def _read(self, phase: Phase, answer: aiohttp.ClientResponse, turn_class: int, began_s: float) -> None:
        end, has_begun = b"", False
        async for chunk in answer.content.iter_any():
            if b"event: text.delta" in chunk and not has_begun:
                has_begun = True
                phase.firsts_s.append(time.perf_counter() - began_s)
            end = (end + chunk)[-4000:]
        if b"event: turn.completed" not in end:
            phase.failed += 1
        elif b'"source":"model"' not in end:
            phase.other_answers += 1
        else:
            phase.served[turn_class] += 1
            phase.latencies_s.append(time.perf_counter() - began_s)
            if self._now is not None:
                self._now.ended_in += 1


async def main(order: Order) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        phases = await Clients(order, session).run()
    sys.stdout.write(msgspec.json.encode(phases).decode() + "\n")


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.stdin.readline(), type=Order)))
