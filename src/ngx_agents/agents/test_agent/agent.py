"""The test agent: what it is told by the first word of the text, or by `skill` in the data, it does.

Beside a team it answers only what is sent to it by name; nothing of it is random, nothing calls a model.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Protocol

import msgspec

from ngx_agents.agents.cards import AgentCard, LocalizedList, SkillCard
from ngx_agents.agents.language import Localized
from ngx_agents.agents.turn import (
    AgentCompleted,
    AgentEvent,
    AgentStarted,
    Answered,
    ArtifactMade,
    Desk,
    Outcome,
    TextDelta,
    TurnTask,
)
from ngx_agents.errors import NgxError

ID = "test_agent"
MODES = (
    "text/plain", "application/json", "application/octet-stream", "application/pdf", "image/png", "image/jpeg",
    "text/markdown", "text/csv",
)  # fmt: skip
CHUNK_GAP_S = 0.02
MAX_CHUNKS, MAX_SLOW_S = 1000, 50.0
QUESTION = "Which colour would you like?"
AUTHORISE = "Please authorise the access at https://example.com/authorise, then send any message."
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
Events = AsyncIterator[AgentEvent]
SKILLS = {
    "message": "Answers with a message of its own, without a task.",
    "echo": "Completes a task whose answer repeats the text. What is no other skill's is this one's.",
    "chunks": "Completes a task whose answer comes in pieces: `chunks 5` in five.",
    "artifacts": "Completes a task that leaves several artifacts besides its answer: `artifacts 3`.",
    "slow": "Works for so many seconds before it completes: `slow 2`; with 50 at most.",
    "input": "Asks a question back (input required); the next message to the task completes it.",
    "auth": "Asks for an authorisation elsewhere (auth required); the next message to the task completes it.",
    "fail": "Ends the task as failed.",
    "reject": "Rejects the task.",
    "file": "Completes a task with a file, as bytes and as a URL.",
    "data": "Completes a task with structured data: what it was sent, if that was data.",
}


class Served(Protocol):
    """The team beside which the test agent is served."""

    def cards(self) -> Sequence[Any]: ...

    def knows(self, agent_id: str) -> bool: ...

    def first_aid(self, text: str, locale: str | None) -> str | None: ...

    def answer(self, task: TurnTask, desk: Desk) -> Events: ...


def answers_at_once(text: str, agent: str | None) -> bool:
    """Whether there will be a message and no task."""
    return agent == ID and _told(text)[0] == "message"


class WithTestAgent:
    """The team, and the test agent beside it."""

    def __init__(self, team: Served) -> None:
        self._team = team

    def cards(self) -> Sequence[Any]:
        return (*self._team.cards(), CARD)

    def knows(self, agent_id: str) -> bool:
        return agent_id == ID or self._team.knows(agent_id)

    def first_aid(self, text: str, locale: str | None) -> str | None:
        return self._team.first_aid(text, locale)

    def answer(self, task: TurnTask, desk: Desk) -> Events:
        return _answer(task, desk) if task.agent == ID else self._team.answer(task, desk)


def _told(text: str) -> tuple[str, str, Any]:
    """Skill, what comes after its name, and the data that was sent."""
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                data = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            skill = data.get("skill")
            return (skill if skill in SKILLS else "data"), str(data.get("argument", "")), data
    name, _, rest = text.strip().partition(" ")
    name = name.lower().strip(".,:;!?-_")
    return (name, rest, None) if name in SKILLS else ("echo", text, None)


async def _answer(task: TurnTask, desk: Desk) -> Events:
    skill, rest, data = _told(task.text)
    asked = task.history[-1].text if task.history and task.history[-1].role == "assistant" else ""
    yield AgentStarted(ID)
    if asked in (QUESTION, AUTHORISE):
        yield _said(f"Thank you: {task.text}")
    else:
        async for event in _DO.get(skill, _echo)(rest, data, desk):
            yield event
    yield AgentCompleted(ID)


def _said(text: str, outcome: Outcome = "answered") -> Answered:
    return Answered(text=text, source="template", rung="template", agents=(ID,), outcome=outcome)


async def _echo(rest: str, data: Any, desk: Desk) -> Events:
    yield _said(rest or "echo")


async def _chunks(rest: str, data: Any, desk: Desk) -> Events:
    pieces = [f"piece {number}. " for number in range(1, _count(rest, 4) + 1)]
    for piece in pieces:
        yield TextDelta(piece, ID)
        await asyncio.sleep(CHUNK_GAP_S)
    yield _said("".join(pieces))


async def _artifacts(rest: str, data: Any, desk: Desk) -> Events:
    for number in range(1, min(_count(rest, 2), 20) + 1):
        made = desk.new_artifact(agent=ID, kind="Report", title=f"Report {number}", data={"number": number})
        yield ArtifactMade(made)
        await asyncio.sleep(CHUNK_GAP_S)
    yield _said("The reports are there.")


async def _slow(rest: str, data: Any, desk: Desk) -> Events:
    seconds = min(_seconds(rest), MAX_SLOW_S)
    await asyncio.sleep(seconds)
    yield _said(f"That took {seconds:g} seconds.")


async def _input(rest: str, data: Any, desk: Desk) -> Events:
    yield _said(QUESTION, "input_required")


async def _auth(rest: str, data: Any, desk: Desk) -> Events:
    yield _said(AUTHORISE, "auth_required")


async def _fail(rest: str, data: Any, desk: Desk) -> Events:
    raise NgxError("the test agent was told to fail")
    yield _said("")


async def _reject(rest: str, data: Any, desk: Desk) -> Events:
    yield _said("The test agent was told to reject this.", "rejected")


async def _file(rest: str, data: Any, desk: Desk) -> Events:
    inline = {"filename": "pixel.png", "media_type": "image/png", "base64": base64.b64encode(PIXEL).decode()}
    linked = {"filename": "guide.pdf", "media_type": "application/pdf", "url": "https://example.com/guide.pdf"}
    for title, content in (("pixel.png", inline), ("guide.pdf", linked)):
        yield ArtifactMade(desk.new_artifact(agent=ID, kind="File", title=title, data=dict(content)))
    yield _said("Two files are there.")


async def _data(rest: str, data: Any, desk: Desk) -> Events:
    content = data if isinstance(data, dict) else {"skill": "data", "numbers": [1, 2, 3]}
    yield ArtifactMade(desk.new_artifact(agent=ID, kind="Data", title="Data", data=content))
    yield _said("The data are there.")


def _count(rest: str, default: int) -> int:
    word = rest.strip().partition(" ")[0]
    return min(max(int(word), 1), MAX_CHUNKS) if word.isdecimal() and len(word) < 7 else default


def _seconds(rest: str) -> float:
    word = rest.strip().partition(" ")[0]
    try:
        return max(0.0, float(word))
    except ValueError:
        return 2.0


_DO: dict[str, Callable[[str, Any, Desk], Events]] = {
    "message": _echo, "echo": _echo, "chunks": _chunks, "artifacts": _artifacts, "slow": _slow, "input": _input,
    "auth": _auth, "fail": _fail, "reject": _reject, "file": _file, "data": _data,
}  # fmt: skip


def _both(text: str) -> Localized:
    return Localized(es=text, en=text)


def _one(example: str) -> LocalizedList:
    return LocalizedList(en=(example,))


CARD = AgentCard(
    id=ID,
    intent="test",
    name=_both("Test agent"),
    description=_both("Does what the first word of a message says, to test clients of the A2A protocol against."),
    skills=tuple(
        SkillCard(
            id=name, name=_both(name), description=_both(text), tags=("test",), examples=LocalizedList(en=(name,))
        )
        for name, text in SKILLS.items()
    ),
)
