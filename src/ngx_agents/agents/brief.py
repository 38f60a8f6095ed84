"""What an agent is given for one turn (`Brief`) and what it has done so far (`Work`)."""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.a2a.message import A2AContext
from ngx_agents.agents.economy import PLENTY, Economy
from ngx_agents.agents.language import Language
from ngx_agents.agents.turn import Desk, TextDelta, TextReset, TurnTask
from ngx_agents.state.model import Artifact, Source
from ngx_agents.vertex.content import ModelReply, Usage


class Brief(msgspec.Struct, frozen=True, kw_only=True):
    """`words` are the message's, normalised; `cautions` the ids the safety screen found, `guidance` their texts.

    `calls` is how this turn asks agents over the bus: within its deadline, its class and what is left of its budget.
    `is_paid_elsewhere`: the process that asked settles what the model costs.
    `is_streamed` says whether somebody reads the text while it is made; `economy` is what the turn does without.
    `skills` maps agents to the skill they are called for; `history_tokens` bounds what a model sees of earlier
    messages.
    """

    task: TurnTask
    desk: Desk
    calls: A2AContext
    language: Language
    words: tuple[str, ...]
    cautions: tuple[str, ...]
    guidance: tuple[str, ...]
    skills: dict[str, str]
    history_tokens: int
    economy: Economy = PLENTY
    is_streamed: bool = True
    is_paid_elsewhere: bool = False


class Work(msgspec.Struct, kw_only=True):
    """Filled while an agent's events are read; a finished one can be checkpointed.

    `facts` maps skills to what their tools found. `by_model` says whether `text` was made for this turn, by a model
    or an agent elsewhere; `source` and `rung` are those of its last reply; `degraded` that a better answer failed.
    `has_looked`: whoever answered was shown what came with the message.
    """

    agent: str
    text: str = ""
    facts: dict[str, dict[str, Any]] = {}
    constraints: list[str] = []
    artifacts: list[Artifact] = []
    usage: Usage = Usage()
    model: str | None = None
    location: str | None = None
    source: Source = "template"
    rung: str = "template"
    by_model: bool = False
    has_looked: bool = False
    degraded: bool = False

    def account(self, reply: ModelReply) -> None:
        """Counts a reply that was paid for, used or not."""
        self.usage = self.usage.plus(reply.usage)
        self.model = reply.model
        self.location = reply.location or None
        self.source = reply.source
        self.rung = reply.rung
        self.degraded = self.degraded or reply.is_degraded

    def say(self, text: str) -> TextDelta:
        """Adds to the answer; the event that tells it."""
        self.text += text
        return TextDelta(text, self.agent)

    def withdraw(self, reason: str, before: str) -> list[TextDelta | TextReset]:
        """The events that take back all but `before`, what stood when the call began."""
        if self.text == before:
            return []
        self.text = ""
        return [TextReset(reason), *([self.say(before)] if before else [])]

    def take_over(self, done: Work) -> None:
        """What another process did, all but the text, which was told piece by piece."""
        self.facts |= done.facts
        self.constrain(tuple(done.constraints))
        self.usage = self.usage.plus(done.usage)
        self.model, self.location = done.model, done.location
        self.source, self.rung, self.by_model = done.source, done.rung, done.by_model
        self.has_looked = done.has_looked
        self.degraded = self.degraded or done.degraded

    def constrain(self, constraints: tuple[str, ...]) -> None:
        self.constraints += [each for each in constraints if each not in self.constraints]
