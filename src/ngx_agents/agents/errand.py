"""What a specialist is asked over the bus, and what it tells back.

In this process an `Errand` is passed as it is: brief, desk and work are the caller's own, and the events come straight
from the specialist. To another process goes an `AwayErrand` instead: all that the specialist may need, read by the
caller beforehand. Back come `Piece`s in the order in which they hold: what is to be written (`Kept`, `Logged`) comes
before the text that speaks of it, and the caller writes it, under its own epoch, before it passes the text on. So
nobody but the lane's owner writes, and an errand that is run twice leaves one effect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from typing_extensions import override

from ngx_agents.a2a.wire import Travelling
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.economy import PLENTY, Economy
from ngx_agents.agents.language import Language
from ngx_agents.agents.prompt import CHARACTERS_PER_TOKEN, question_of
from ngx_agents.agents.spending import Grant, Spending
from ngx_agents.agents.toolbox import EARLIER_CHARACTERS
from ngx_agents.agents.turn import TurnTask
from ngx_agents.state.model import Artifact, LogEntry, LogKind, Message
from ngx_agents.vertex.content import Content, ModelReply, ModelRequest


class AwayErrand(msgspec.Struct, frozen=True, kw_only=True):
    """`task.deadline_s` means nothing here: the message's own holds. `logs` are all the user's entries of the kinds
    that the agent's tools read, oldest first; `remembered` what earlier attempts of this turn left of this agent."""

    task: TurnTask
    language: Language
    words: tuple[str, ...]
    cautions: tuple[str, ...]
    guidance: tuple[str, ...]
    skills: dict[str, str]
    history_tokens: int
    economy: Economy = PLENTY
    is_streamed: bool
    logs: dict[LogKind, tuple[LogEntry, ...]]
    remembered: dict[str, bytes]


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    text: str


class Withdrawn(msgspec.Struct, frozen=True, array_like=True, tag="withdrawn"):
    reason: str


class Made(msgspec.Struct, frozen=True, array_like=True, tag="made"):
    artifact: Artifact


class Kept(msgspec.Struct, frozen=True, array_like=True, tag="kept"):
    """A checkpoint that the caller is to make."""

    key: str
    value: bytes


class Logged(msgspec.Struct, frozen=True, array_like=True, tag="logged"):
    """An effect that the caller is to perform: an entry in the user's logs, once for each key of a turn."""

    kind: LogKind
    at: float
    data: dict[str, Any]
    key: str


class Reported(msgspec.Struct, frozen=True, array_like=True, tag="reported"):
    """The last one: the work as it was done there, its text already told."""

    work: Work


Note = Kept | Logged
Piece = Said | Withdrawn | Made | Kept | Logged | Reported


class Errand(Travelling):
    """`work` is filled while its pieces are read. `reads` are the kinds of logs that the agent's tools look at."""

    __slots__ = ("_grant", "_spending", "agent", "brief", "is_away", "reads", "reported", "work")

    def __init__(  # what is sent and who pays
        self, agent: str, brief: Brief, work: Work, *, reads: Sequence[LogKind], spending: Spending | None
    ) -> None:
        self.agent = agent
        self.brief = brief
        self.work = work
        self.reads = reads
        self.is_away = False
        self.reported: Work | None = None
        self._spending = spending
        self._grant: Grant | None = None

    @override
    async def away(self) -> AwayErrand:
        """Raises JournalUnavailable when what it needs cannot be read, SpendingStopped when nothing may be spent."""
        self.is_away = True
        brief = self.brief
        if self._spending is not None:
            asked = ModelRequest(system="", contents=question_of(brief), deadline_s=brief.task.deadline_s)
            self._grant = await self._spending.purse(brief.task).reserve(self.agent, asked)
        task = msgspec.structs.replace(
            brief.task, deadline_s=0.0, history=_sent_history(brief.task.history, brief.history_tokens)
        )
        return AwayErrand(
            task=task,
            language=brief.language,
            words=brief.words,
            cautions=brief.cautions,
            guidance=brief.guidance,
            skills=brief.skills,
            history_tokens=brief.history_tokens,
            economy=brief.economy,
            is_streamed=brief.is_streamed,
            logs={kind: tuple(await brief.desk.logs(kind, 0.0)) for kind in self.reads},
            remembered=dict(brief.desk.remembered(f"tool:{self.agent}:")),
        )

    def settle(self) -> None:
        """Pays for what another process reported, or, when it broke off after it had begun, all that was reserved."""
        grant, self._grant = self._grant, None
        if grant is None:
            return
        done = self.reported
        reply = None
        if done is not None:
            reply = ModelReply(
                content=Content(role="model", parts=()), finish_reason="stop", usage=done.usage, model=done.model or "",
                location="", provider="", source="model" if done.usage.total_tokens else "cache",
            )  # fmt: skip
        grant.settle(reply, is_begun=bool(self.work.text))


def _sent_history(history: Sequence[Message], tokens: int) -> tuple[Message, ...]:
    """The newest that a prompt or a tool may look at, and the one at which a prompt's bound is reached."""
    prompt_left, user_left = tokens * CHARACTERS_PER_TOKEN, EARLIER_CHARACTERS
    sent: list[Message] = []
    for message in reversed(history):
        size = len(message.text)
        is_of_prompt = prompt_left >= 0
        prompt_left -= size + CHARACTERS_PER_TOKEN
        is_of_tools = message.role == "user" and user_left >= 0
        if message.role == "user":
            user_left -= size
        if is_of_prompt or is_of_tools:
            sent.append(msgspec.structs.replace(message, derived=None))
    return tuple(reversed(sent))
