"""How a specialist's model asks another specialist: a tool whose answer is the other's whole answer.

Bounded: whoever is asked asks nobody, and one answer asks `MAX_CONSULTS` times. The other is asked over the bus like by
the orchestrator: within the same deadline, class, budgets and cautions, here or elsewhere, answered for when it cannot
be asked. It sees the question and the person's profile, not the conversation.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.cards import AgentCard
from ngx_agents.agents.turn import AgentEvent, ArtifactMade
from ngx_agents.agents.wording import normalise, words_of
from ngx_agents.errors import InvalidRequest
from ngx_agents.vertex.content import ToolCall, ToolDeclaration, ToolResult

CONSULT = "consult_colleague"
MAX_CONSULTS = 3
MAX_QUESTION = 2_000
ASKING_DEPTH = 1  # of the bus: the orchestrator's own calls


class Asked(Protocol):
    def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]: ...


class Consulting:
    """Whom one agent may ask. `skill_of(agent, words)` is what the other is called for."""

    def __init__(
        self,
        colleagues: Mapping[str, Asked],
        cards: Mapping[str, AgentCard],
        skill_of: Callable[[str, Sequence[str]], str],
    ) -> None:
        self._colleagues = colleagues
        self._skill_of = skill_of
        self._declared = (_declaration([cards[name] for name in colleagues]),)

    def declarations(self, brief: Brief) -> tuple[ToolDeclaration, ...]:
        """Nothing for whoever was asked by a colleague itself."""
        return self._declared if brief.calls.depth == ASKING_DEPTH else ()

    async def ask(self, call: ToolCall, brief: Brief, work: Work) -> tuple[ToolResult, list[ArtifactMade]]:
        """The other's answer as the model sees it, and the artifacts it made. Raises InvalidRequest for a call that is
        not allowed, and what no fallback can cure."""
        agent, question = self._read(call.arguments, brief)
        words = words_of(normalise(question))
        task = msgspec.structs.replace(brief.task, text=question, history=(), attachments=(), is_streamed=False)
        asked = msgspec.structs.replace(
            brief, task=task, words=tuple(words), skills={agent: self._skill_of(agent, words)}, is_streamed=False
        )
        part, made = Work(agent=agent), list[ArtifactMade]()
        async with aclosing(self._colleagues[agent].answer(asked, part)) as events:
            async for event in events:
                if isinstance(event, ArtifactMade):
                    made.append(event)
        work.usage = work.usage.plus(part.usage)
        work.artifacts += part.artifacts
        work.constrain(tuple(part.constraints))
        work.degraded = work.degraded or part.degraded
        response: dict[str, Any] = {"answer": part.text}
        if part.constraints:
            response["constraints"] = list(part.constraints)
        return ToolResult(name=call.name, id=call.id, response=response), made

    def _read(self, arguments: Mapping[str, Any], brief: Brief) -> tuple[str, str]:
        agent, question = arguments.get("agent"), arguments.get("question")
        if brief.calls.depth != ASKING_DEPTH or brief.calls.calls_made >= MAX_CONSULTS:
            raise InvalidRequest("no colleague may be asked any more; answer with what is there")
        if not isinstance(agent, str) or agent not in self._colleagues:
            raise InvalidRequest("there is no such colleague", field="agent")
        if not isinstance(question, str) or not question.strip() or len(question) > MAX_QUESTION:
            raise InvalidRequest(f"a question has 1 to {MAX_QUESTION} characters", field="question")
        return agent, question


def _declaration(cards: Sequence[AgentCard]) -> ToolDeclaration:
    described = "\n".join(f"- {card.id}: {card.description.en} / {card.description.es}" for card in cards)
    return ToolDeclaration(
        name=CONSULT,
        description=(
            "Asks another specialist what your answer needs to know and is not your subject; the question must say all "
            "that matters. / Pregunta a otro especialista lo que tu respuesta necesita y no es tu tema; la pregunta "
            f"debe decir todo lo que importa.\n{described}"
        ),
        parameters={
            "type": "object",
            "properties": {
                "agent": {"type": "string", "enum": [card.id for card in cards]},
                "question": {"type": "string", "maxLength": MAX_QUESTION},
            },
            "required": ["agent", "question"],
        },
    )
