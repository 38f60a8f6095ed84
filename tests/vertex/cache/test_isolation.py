"""No byte of one user reaches another: ten thousand users with secrets, equal words, cancels at any point, erasures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from hashlib import sha256

from ngx_agents.clock import Clock, SystemClock
from ngx_agents.coordination.local_shared import LocalShared
from ngx_agents.coordination.shared import Shared
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.answers import AnswerCache, CacheLimits
from ngx_agents.vertex.cache.marks import TRUST_S
from ngx_agents.vertex.content import ModelReply, StreamEnd, TextChunk
from ngx_agents.vertex.flight import Event
from ngx_agents.vertex.flights import Flights
from ngx_agents.vertex.scope import CacheRule, Public, User
from tests.vertex.cache.making import MODEL, HandClock, answer, question
from tests.vertex.cache.sharing import JitteryShared

USERS = 10_000
AT_ONCE = 500
SAME_WORDS = b'{"contents":[{"text":"what about my knee?"}]}'


class Server:
    """One instance as the model client makes it: look up, join or call, keep."""

    def __init__(self, shared: Shared, flights: Flights, clock: Clock | None = None) -> None:
        self.metrics = Metrics()
        self.flights = flights
        self.cache = AnswerCache(
            [b"a secret of the server"], clock=clock or SystemClock(), metrics=self.metrics, shared=shared,
            limits=CacheLimits(max_entries=300, max_bytes=400_000),
        )  # fmt: skip

    async def ask(self, body: bytes, rule: CacheRule, secret: str) -> str:
        key = self.cache.key(body, model=MODEL, location_class="global", rule=rule)
        kept = self.cache.in_memory(key) or await self.cache.find(key)
        if kept is not None:
            assert "".join(kept.chunks) == kept.reply().text
            return kept.reply().text
        texts: list[str] = []
        start, deadline_s = self._call(secret), SystemClock().monotonic_s() + 30

        async def keep(reply: ModelReply, chunks: tuple[str, ...]) -> None:
            await self.cache.keep(key, rule, question(rule), reply, chunks)

        async for event in self.flights.stream(key, start, deadline_s=deadline_s, then=keep):
            if isinstance(event, TextChunk):
                texts.append(event.text)
            elif isinstance(event, StreamEnd):
                assert event.reply.text == "".join(texts)
        return "".join(texts)

    def counted(self, what: str) -> float:
        cells = self.metrics.counter(f"ngx_answer_cache_{what}_total", "").cells()
        return sum(cell.value for _, cell in cells)

    def _call(self, secret: str) -> Callable[[], AsyncGenerator[Event]]:
        async def call() -> AsyncGenerator[Event]:
            chunks = ("Your secret ", "is ", secret)
            for chunk in chunks:
                await asyncio.sleep(0)
                yield TextChunk(chunk)
            yield StreamEnd(answer("".join(chunks)))

        return call


async def storm(servers: list[Server], users: range, rng: random.Random) -> list[tuple[str, str]]:
    """(secret, answer) of those who were not cancelled."""
    asking: list[tuple[str, asyncio.Task[str]]] = []
    async with asyncio.TaskGroup() as group:
        for user in users:
            secret, own = secret_of(user), CacheRule(scope=User(f"user-{user}"))
            in_words = b'{"contents":[{"text":"I am %b"}]}' % secret.encode()
            asked = [(SAME_WORDS, own)]
            if user % 4 == 0:
                asked += [(SAME_WORDS, own), (in_words, CacheRule(scope=Public()))]
            for body, rule in asked:
                asking.append((secret, group.create_task(rng.choice(servers).ask(body, rule, secret))))
            if user % 20 == 0:
                group.create_task(rng.choice(servers).cache.erase_user(f"user-{user}"))
        for _ in range(12):
            await asyncio.sleep(0)
            for _, task in rng.sample(asking, len(asking) // 30):
                task.cancel()
    answered = [(secret, task.result()) for secret, task in asking if not task.cancelled()]
    for user in users[::7]:  # once more, of those that may have been kept
        own = CacheRule(scope=User(f"user-{user}"))
        answered.append((secret_of(user), await rng.choice(servers).ask(SAME_WORDS, own, secret_of(user))))
    return answered


def secret_of(user: int) -> str:
    return f"<{sha256(str(user).encode()).hexdigest()[:16]}>"


async def test_no_secret_of_ten_thousand_users_reaches_another() -> None:
    rng = random.Random(20)
    shared = LocalShared(SystemClock())
    answered: list[tuple[str, str]] = []
    async with flights() as one, flights() as other:
        servers = [Server(JitteryShared(shared, rng), one), Server(JitteryShared(shared, rng), other)]
        for first in range(0, USERS, AT_ONCE):
            answered += await storm(servers, range(first, first + AT_ONCE), rng)
    assert len(one) == len(other) == 0
    foreign = [(secret, text) for secret, text in answered if text != f"Your secret is {secret}"]
    assert foreign == []
    assert USERS < len(answered) < 1.6 * USERS, "some were cancelled, not all"
    assert sum(server.counted("hits") for server in servers) > 500, "the cache was at work"


def flights() -> Flights:
    return Flights(clock=SystemClock(), metrics=Metrics())


async def live_and_be_erased(servers: list[Server], number: int, rng: random.Random) -> None:
    """A user asks both instances at once, and is erased at any moment of it."""
    user, moment = f"user-{number}", rng.randrange(25)
    rule = CacheRule(scope=User(user))
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.ask(SAME_WORDS, rule, user))
        for _ in range(moment):
            await asyncio.sleep(0)
        await rng.choice(servers).cache.erase_user(user)


async def test_no_answer_survives_its_users_erasure() -> None:
    rng = random.Random(21)
    clock = HandClock()
    shared = LocalShared(clock)
    async with flights() as one, flights() as other:
        servers = [Server(JitteryShared(shared, rng), each, clock) for each in (one, other)]
        async with asyncio.TaskGroup() as group:
            for number in range(1000):
                group.create_task(live_and_be_erased(servers, number, rng))
        stored, refused = (sum(server.counted(what) for server in servers) for what in ("stored", "refused"))
        assert stored > 300, "some were stored before their erasure"
        assert refused > 300, "some came after it"
        clock.passed_s += TRUST_S + 1
        for server in (*servers, Server(shared, one, clock)):
            for number in range(1000):
                rule = CacheRule(scope=User(f"user-{number}"))
                key = server.cache.key(SAME_WORDS, model=MODEL, location_class="global", rule=rule)
                assert await server.cache.find(key) is None
