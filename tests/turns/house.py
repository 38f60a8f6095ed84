"""A journal, a scripted team and engines on it, for the tests of the turn engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from ngx_agents.agents.turn import AgentEvent, Answered, Desk, TextDelta, TurnTask
from ngx_agents.clock import SystemClock
from ngx_agents.coordination.shared import Shared
from ngx_agents.state.commands import CreateConversation
from ngx_agents.state.ids import Ids
from ngx_agents.state.memory_tier import MemoryTier
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.engine import TurnEngine
from ngx_agents.turns.model import TurnRequest
from ngx_agents.turns.settings import TurnSettings

ANA = Owner("acme", "ana")
BEN = Owner("acme", "ben")


class ScriptedTeam:
    """Says the words of the question one by one; `hold` waits, `break` breaks, `log` logs a weight once."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.running = 0
        self.most_running = 0
        self.order: list[str] = []
        self.histories: list[list[str]] = []

    def knows(self, agent_id: str) -> bool:
        return agent_id == "coach"

    async def answer(self, task: TurnTask, desk: Desk) -> AsyncIterator[AgentEvent]:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        self.order.append(task.text)
        self.histories.append([message.text for message in task.history])
        try:
            for word in task.text.split():
                yield TextDelta(word + " ", "coach")
                await self._act(word, task, desk)
            yield Answered(text=task.text.strip() + " ", source="template", rung="template", agents=("coach",))
        finally:
            self.running -= 1

    async def _act(self, word: str, task: TurnTask, desk: Desk) -> None:
        if word == "hold":
            await self.release.wait()
        elif word == "break":
            raise RuntimeError("secret detail")
        elif word == "log":
            await desk.add_log("weight", task.now, {"kg": 80}, "weight")
        else:
            await asyncio.sleep(0)


class House:
    """A journal and as many engines as a test starts on it, one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = SystemClock()
        self.ids = Ids(self.clock)
        self.team = ScriptedTeam()
        self.metrics = Metrics()
        self.bare = SqliteJournal(path)
        self.journal = MemoryTier(self.bare)

    def engine(self, *, shared: Shared | None = None, **settings: float) -> TurnEngine:
        values: dict[str, float] = {"drain_s": 0.05, "claim_every_s": 0.05} | settings
        return TurnEngine(
            journal=self.journal,
            team=self.team,
            ids=self.ids,
            clock=self.clock,
            metrics=self.metrics,
            settings=TurnSettings(**values),  # type: ignore[arg-type]
            shared=shared,
        )

    async def conversation(self, owner: Owner = ANA) -> str:
        made = self.ids.new("c", 1)
        await self.journal.transact([CreateConversation(id=made, owner=owner, title="", now=self.clock.now_s())])
        return made


def request(conversation_id: str, text: str, **changes: object) -> TurnRequest:
    values: dict[str, object] = {"conversation_id": conversation_id, "owner": ANA, "text": text}
    return TurnRequest(**(values | changes))  # type: ignore[arg-type]


async def eventually(check: Callable[[], bool] | Callable[[], Awaitable[bool]], within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while True:
            result = check()
            if result is True or (not isinstance(result, bool) and await result):
                return
            await asyncio.sleep(0.005)


async def heard(engine: TurnEngine, turn_id: str, last_event_id: str | None = None) -> str:
    """All frames until the stream ends."""
    subscription = await engine.subscribe(turn_id, ANA, last_event_id)
    frames = b""
    while (chunk := await subscription.read()) is not None:
        frames += chunk
    subscription.close()
    return frames.decode()
