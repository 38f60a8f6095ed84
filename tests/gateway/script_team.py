"""A team whose answers follow from the message, so that a test can say what the turn should do.

`say a|b|c` streams pieces; `withdraw a|b` says a, takes it back and says b; `wait` answers after `release`; `fail`
ends with a model error; `break` raises what nobody expected; `artifact` leaves one; `recall` says what it remembers,
`look` what is attached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec

from ngx_agents.agents.turn import (
    AgentCompleted,
    AgentEvent,
    AgentStarted,
    Answered,
    ArtifactMade,
    Desk,
    TextDelta,
    TextReset,
    TurnTask,
)
from ngx_agents.errors import ModelUnavailable
from ngx_agents.vertex.content import Usage

USAGE = Usage(input_tokens=7, output_tokens=3, thought_tokens=2)


class ScriptCard(msgspec.Struct, frozen=True):
    id: str
    name: str


class ScriptTeam:
    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.tasks: list[TurnTask] = []

    def cards(self) -> list[ScriptCard]:
        return [ScriptCard("parrot", "Parrot"), ScriptCard("owl", "Owl")]

    def knows(self, agent_id: str) -> bool:
        return agent_id in ("parrot", "owl")

    def first_aid(self, text: str, locale: str | None) -> str | None:
        return "Call 112." if "emergency" in text else None

    async def answer(self, task: TurnTask, desk: Desk) -> AsyncIterator[AgentEvent]:
        self.tasks.append(task)
        agent = task.agent or "parrot"
        yield AgentStarted(agent)
        verb, _, rest = task.text.partition(" ")
        text = ""
        if verb == "withdraw":
            first, text = rest.split("|")
            yield TextDelta(first, agent)
            await asyncio.sleep(0.02)
            yield TextReset("model_failed")
            yield TextDelta(text, agent)
        elif verb == "wait":
            await self.release.wait()
        elif verb == "fail":
            raise ModelUnavailable("the model is away")
        elif verb == "break":
            raise RuntimeError("secret detail")
        elif verb == "artifact":
            yield ArtifactMade(desk.new_artifact(agent=agent, kind="Plan", title=rest, data={"days": 3}))
        elif verb in ("recall", "look"):
            text = _remembered(task) if verb == "recall" else _seen(task)
            yield TextDelta(text, agent)
        else:
            for piece in (rest or task.text).split("|"):
                text += piece
                yield TextDelta(piece, agent)
        yield AgentCompleted(agent)
        yield Answered(text=text, source="model", rung="model", agents=(agent,), usage=USAGE, model="script-1")


def _remembered(task: TurnTask) -> str:
    return " / ".join(f"{message.role}: {message.text}" for message in task.history)


def _seen(task: TurnTask) -> str:
    return " / ".join(f"{one.name} {one.media_type} {one.data!r}" for one in task.attachments) or "nothing"
