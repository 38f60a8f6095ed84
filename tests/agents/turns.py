"""Turns for the coaching team's tests: a task, its events, and what always holds of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from ngx_agents.a2a.server import A2AServer
from ngx_agents.agents.orchestrator import CoachingTeam
from ngx_agents.agents.turn import AgentEvent, Answered, ArtifactMade, TextDelta, TextReset, TurnTask
from ngx_agents.clock import Rng, SystemClock
from ngx_agents.state.model import Artifact, Message, Owner, Profile
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.client import VertexAIClient

from .memory_desk import MemoryDesk

NOW = 1_790_000_000.0


class TestTeam(CoachingTeam):
    """With a bus of its own, which `see` starts."""

    __test__ = False

    def __init__(
        self,
        model: VertexAIClient | None,
        metrics: Metrics,
        bus: A2AServer,
        **options: Any,
    ) -> None:
        super().__init__(model=model, bus=bus, clock=SystemClock(), rng=Rng(1), metrics=metrics, **options)
        self.bus = bus


def coaching_team(
    model: VertexAIClient | None = None,
    *,
    metrics: Metrics | None = None,
    bus: A2AServer | None = None,
    **options: Any,
) -> TestTeam:
    metrics = metrics or Metrics()
    bus = bus or A2AServer(worker_threads=256, metrics=metrics)
    return TestTeam(model, metrics, bus, **options)


def a_task(
    text: str,
    *,
    agent: str | None = None,
    locale: str | None = None,
    profile: Profile | None = None,
    history: Sequence[Message] = (),
    timeout_s: float = 20.0,
) -> TurnTask:
    return TurnTask(
        turn_id="t_00t1",
        conversation_id="c1",
        owner=Owner("default", "ana"),
        text=text,
        history=history,
        profile=profile or Profile(),
        deadline_s=SystemClock().monotonic_s() + timeout_s,
        now=NOW,
        agent=agent,
        locale=locale,
    )


class Seen:
    """The events of a finished turn."""

    def __init__(self, events: list[AgentEvent]) -> None:
        self.events = events
        last = events[-1]
        assert isinstance(last, Answered)
        self.answered = last

    @property
    def text(self) -> str:
        return self.answered.text

    @property
    def deltas(self) -> list[str]:
        """Those since the last reset."""
        found: list[str] = []
        for event in self.events:
            if isinstance(event, TextReset):
                found = []
            elif isinstance(event, TextDelta):
                found.append(event.text)
        return found

    @property
    def artifacts(self) -> list[Artifact]:
        return [event.artifact for event in self.events if isinstance(event, ArtifactMade)]

    @property
    def resets(self) -> list[str]:
        return [event.reason for event in self.events if isinstance(event, TextReset)]


async def see(team: CoachingTeam, task: TurnTask, desk: MemoryDesk | None = None) -> Seen:
    """Runs the turn to its end and checks what holds of every turn."""
    async with team.bus if isinstance(team, TestTeam) else nullcontext():
        seen = Seen([event async for event in team.answer(task, desk or MemoryDesk())])
    assert "".join(seen.deltas) == seen.text
    assert seen.text.strip()
    assert sum(isinstance(event, Answered) for event in seen.events) == 1
    assert len({artifact.id for artifact in seen.artifacts}) == len(seen.artifacts)
    return seen
