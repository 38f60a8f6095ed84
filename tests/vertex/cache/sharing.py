"""Instances that share a tier: in process or a real Valkey, with a gate through which a test lets commands pass."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from typing_extensions import override

from ngx_agents.clock import Clock
from ngx_agents.coordination.commands import Command
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import SharedUnavailable
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.cache.answers import AnswerCache
from ngx_agents.vertex.cache.rules import CacheRules
from tests.vertex.cache.making import cache_of

R = TypeVar("R")
Matches = Callable[[Command[object]], bool]


class GatedShared:
    """A tier whose commands a test holds back: `hold` stops the next one that matches, before or after it is done."""

    def __init__(self, inner: Shared) -> None:
        self._inner = inner
        self._holds: list[tuple[Matches, bool, asyncio.Event, asyncio.Event]] = []
        self.is_down = False
        self.asked: list[str] = []

    def hold(self, matches: Matches, *, after: bool) -> tuple[asyncio.Event, asyncio.Event]:
        """(set once a command is held, to be set to let it go on)."""
        is_held, may_go = asyncio.Event(), asyncio.Event()
        self._holds.append((matches, after, is_held, may_go))
        return is_held, may_go

    async def open(self) -> None:
        await self._inner.open()

    async def close(self) -> None:
        await self._inner.close()

    async def ask(self, command: Command[R]) -> R:
        if self.is_down:
            raise SharedUnavailable("down")
        self.asked.append(type(command).__name__)
        await self._wait(command, after=False)
        answer = await self._inner.ask(command)
        await self._wait(command, after=True)
        return answer

    async def _wait(self, command: Command[R], *, after: bool) -> None:
        for hold in self._holds:
            matches, is_after, is_held, may_go = hold
            if is_after is after and matches(command):
                self._holds.remove(hold)
                is_held.set()
                await may_go.wait()
                return

    async def publish(self, channel: str, payload: bytes) -> None:
        await self._inner.publish(channel, payload)

    def listen(self, channel: str) -> AsyncIterator[bytes]:
        return self._inner.listen(channel)


class JitteryShared(GatedShared):
    """A tier to which some commands come a little later than others, and from which some answers do."""

    def __init__(self, inner: Shared, rng: random.Random) -> None:
        super().__init__(inner)
        self._rng = rng

    @override
    async def _wait(self, command: Command[R], *, after: bool) -> None:
        for _ in range(self._rng.randrange(3)):
            await asyncio.sleep(0)


class Instance:
    """One instance: its cache, its way to the shared tier, its metrics."""

    def __init__(self, shared: Shared, clock: Clock, *secrets: bytes, rules: CacheRules | None = None) -> None:
        self.metrics = Metrics()
        self.shared = GatedShared(shared)
        given = {"secrets": secrets} if secrets else {}
        self.cache: AnswerCache = cache_of(clock, metrics=self.metrics, shared=self.shared, rules=rules, **given)

    def counted(self, name: str, *labels: str) -> float:
        """The value of a counter, summed over the labels that are not given."""
        cells = self.metrics.counter(f"ngx_answer_cache_{name}_total", "").cells()
        return sum(cell.value for values, cell in cells if set(labels) <= set(values))
