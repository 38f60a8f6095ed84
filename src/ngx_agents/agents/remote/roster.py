"""The agents elsewhere, while the server runs: their cards are looked at again and again, one task each.

A server starts whether or not they answer; each is available once its card is known. `FIRST_LOOK_S` bounds what the
start waits for them. Tasks end with the roster's context.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.remote.agent import RemoteAgent
from ngx_agents.agents.remote.meters import RemoteMeters
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import RemoteError
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.telemetry.log import event_log

FIRST_LOOK_S = 3.0
LEAST_REFRESH_S, MOST_REFRESH_S = 5.0, 86_400.0
RETRY_BASE_S, RETRY_CAP_S = 1.0, 60.0
MAX_FAREWELLS = 64
_log = event_log("remote")


class RemoteRoster:
    """`on_change` is called when a card came or changed."""

    def __init__(self, agents: Sequence[RemoteAgent], *, meters: RemoteMeters, clock: Clock, rng: Rng) -> None:
        self.agents: Mapping[str, RemoteAgent] = {agent.id: agent for agent in agents}
        self.on_change: Callable[[], None] = _nobody_listens
        self._meters = meters
        self._clock = clock
        self._rng = rng
        self._tasks = asyncio.TaskGroup()
        self._running: list[asyncio.Task[None]] = []
        self._farewells = 0
        self._stack = AsyncExitStack()
        for agent in agents:
            agent.leave = self.leave

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        try:
            await self._start()
        except BaseException as exc:
            await self.__aexit__(type(exc), exc, exc.__traceback__)
            raise
        return self

    async def _start(self) -> None:
        for agent in self.agents.values():
            await self._stack.enter_async_context(agent.http)
        looks = [asyncio.Event() for _ in self.agents]
        self._running = [
            self._tasks.create_task(self._keep(agent, looked))
            for agent, looked in zip(self.agents.values(), looks, strict=True)
        ]
        try:
            async with asyncio.timeout(FIRST_LOOK_S):
                for looked in looks:
                    await looked.wait()
        except TimeoutError:
            _log.warning("remote.slow_start", known=sum(agent.is_available for agent in self.agents.values()))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            task.cancel()
        await self._tasks.__aexit__(None, None, None)
        await self._stack.aclose()

    def cards(self) -> list[AgentCard]:
        """As callers see them, with whether each can be asked now."""
        return [_shown(agent) for agent in self.agents.values()]

    def obey(self, stopped: Callable[[str, str], str | None]) -> None:
        """`stopped(tenant, agent)` names the operator's stop that holds for them."""
        for agent in self.agents.values():
            agent.is_stopped = partial(_is_stopped, stopped, agent.id)

    def leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what a turn leaves to be done after it; not done when too much of it is under way."""
        if self._farewells >= MAX_FAREWELLS:
            work.close()
            return
        self._farewells += 1
        self._tasks.create_task(self._farewell(work))

    async def _farewell(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self._farewells -= 1

    async def _keep(self, agent: RemoteAgent, looked: asyncio.Event) -> None:
        failures = 0
        while True:
            before: AgentCard = agent.card
            try:
                max_age_s = await agent.refresh()
            except RemoteError as exc:
                self._meters.looked(agent.id, exc.code)
                _log.warning("remote.no_card", agent=agent.id, code=exc.code, reason=str(exc))
                delay_s = next_delay_s(failures, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rng=self._rng)
                failures += 1
            else:
                self._meters.looked(agent.id, "read")
                failures, delay_s = 0, _refresh_s(agent.settings.refresh_s, max_age_s)
            if agent.card != before:
                self.on_change()
            looked.set()
            await self._clock.sleep(max(LEAST_REFRESH_S if not failures else 0.1, delay_s))


def _is_stopped(stopped: Callable[[str, str], str | None], agent: str, tenant: str) -> bool:
    return stopped(tenant, agent) is not None


def _shown(agent: RemoteAgent) -> AgentCard:
    card = agent.card
    if card.remote is None or card.remote.is_available == agent.is_available:
        return card
    origin = msgspec.structs.replace(card.remote, is_available=agent.is_available)
    return msgspec.structs.replace(card, remote=origin)


def _refresh_s(setting_s: float, max_age_s: float | None) -> float:
    return min(MOST_REFRESH_S, setting_s if max_age_s is None else max(max_age_s, setting_s / 10))


def _nobody_listens() -> None:
    """Before the team is there."""
