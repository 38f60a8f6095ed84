"""One agent's part of a turn: the model with its tools, or, without an answer of the model's, tools and template.

What a model called before it failed is kept: the template is filled with it, and no tool runs twice. The text shown
passes the sentence gate; text of a failed attempt is withdrawn by a `TextReset`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ngx_agents.agents.answer_screen import AnswerScreen
from ngx_agents.agents.brief import Brief, Work
from ngx_agents.agents.cards import AgentContent
from ngx_agents.agents.consulting import CONSULT, Consulting
from ngx_agents.agents.prompt import RESULTS, cache_rule, question_of, system_prompt
from ngx_agents.agents.spending import Purse, Spending
from ngx_agents.agents.telling import Telling
from ngx_agents.agents.template import Templates, pieces_of
from ngx_agents.agents.toolbox import Toolbox, ToolRun, decode_run
from ngx_agents.agents.turn import AgentEvent, ArtifactMade, TextReset
from ngx_agents.errors import InvalidRequest, ModelError, ModelProtocolError, RemoteError
from ngx_agents.state.model import Artifact, LogKind
from ngx_agents.telemetry.log import event_log
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, ToolCall, ToolDeclaration, ToolResult

MAX_TOOL_ROUNDS = 4
_log = event_log("agents")


class Specialist:
    """One agent of the team; keeps nothing between turns."""

    def __init__(
        self,
        content: AgentContent,
        *,
        model: VertexAIClient | None,
        toolbox: Toolbox,
        templates: Templates,
        screen: AnswerScreen,
        spending: Spending | None = None,
    ) -> None:
        self._card = content.card
        self._instructions = content.instructions
        self._model = model
        self._toolbox = toolbox
        self._templates = templates
        self._screen = screen
        self._spending = spending
        self._declared = toolbox.declarations(content.card.tools)
        self._consulting: Consulting | None = None
        self.reads = toolbox.reads_of(content.card.tools)

    async def answer(self, brief: Brief, work: Work) -> AsyncGenerator[AgentEvent]:
        """Deltas, resets and artifacts; `work` is complete when they end. Raises LeaseLost."""
        made: dict[str, ToolRun] = {}
        if self._model is not None:
            try:
                async with aclosing(self._by_model(self._model, brief, work, made)) as events:
                    async for event in events:
                        yield event
            except ModelError as exc:
                _log.warning("agent.model_failed", agent=self._card.id, code=exc.code)
                work.degraded = True
                if work.text:
                    work.text = ""
                    yield TextReset("model_failed")
            else:
                return
        async with aclosing(self.by_template(brief, work, made)) as events:
            async for event in events:
                yield event

    async def _by_model(
        self, model: VertexAIClient, brief: Brief, work: Work, made: dict[str, ToolRun]
    ) -> AsyncGenerator[AgentEvent]:
        contents = question_of(brief)
        purse = self._purse(brief)
        gate = self._screen.gate(brief.language)
        telling = Telling(model, gate, work, is_streamed=brief.is_streamed, purse=purse)
        for round_number in range(MAX_TOOL_ROUNDS + 1):
            if work.text:
                yield work.say("\n\n")
            async with aclosing(telling.events(self._request(brief, contents, round_number))) as events:
                async for event in events:
                    yield event
            reply = telling.reply
            if not reply.calls:
                break
            results: list[ToolResult] = []
            for call in reply.calls:
                result, announced = await self._call(call, brief, work, made)
                results.append(result)
                for each in announced:
                    yield each
            contents += (reply.content, Content(role="user", parts=tuple(results)))
        if not work.text.strip():
            raise ModelProtocolError("the model's answer has no text")
        work.by_model = work.has_looked = True

    def _purse(self, brief: Brief) -> Purse | None:
        if self._spending is None or brief.is_paid_elsewhere:
            return None
        return self._spending.purse(brief.task)

    def _request(self, brief: Brief, contents: tuple[Content, ...], round_number: int) -> ModelRequest:
        task = brief.task
        request = ModelRequest(
            system=system_prompt(
                self._instructions.of(brief.language),
                language=brief.language,
                profile=task.profile,
                guidance=(*brief.guidance, RESULTS[brief.language]) if self._declared else brief.guidance,
            ),
            contents=contents,
            # in the last round it must answer with what it has
            tools=self._tools(brief) if round_number < MAX_TOOL_ROUNDS else (),
            deadline_s=task.deadline_s,
            # what tools found belongs to the person
            cache=cache_rule(brief) if round_number == 0 else None,
            urgency=task.turn_class,
            by_sentence=True,
        )
        return brief.economy.applied(request)

    def _tools(self, brief: Brief) -> tuple[ToolDeclaration, ...]:
        foreign = self._toolbox.foreign_declarations(self._card.id)
        declared = self._declared + foreign if foreign else self._declared
        return declared if self._consulting is None else declared + self._consulting.declarations(brief)

    @property
    def asks_others(self) -> bool:
        return self._consulting is not None

    def may_consult(self, consulting: Consulting, reads: Sequence[LogKind]) -> None:
        """Before the first answer. `reads` are the logs that those it may ask look at."""
        self._consulting = consulting
        self.reads = tuple(dict.fromkeys((*self.reads, *reads)))

    async def _call(
        self, call: ToolCall, brief: Brief, work: Work, made: dict[str, ToolRun]
    ) -> tuple[ToolResult, Sequence[ArtifactMade]]:
        """The result as the model sees it; a refusal is data for it, too."""
        if call.name == CONSULT and self._consulting is not None:
            try:
                return await self._consulting.ask(call, brief, work)
            except InvalidRequest as exc:
                return _refusal(call, str(exc), field=exc.field), ()
        if call.name not in self._card.tools and not self._toolbox.is_foreign(self._card.id, call.name):
            return _refusal(call, "there is no such tool"), ()
        try:
            run = await self._toolbox.run(call.name, call.arguments, agent=self._card.id, brief=brief, made=made)
        except InvalidRequest as exc:
            return _refusal(call, str(exc), field=exc.field), ()
        except RemoteError as exc:
            _log.warning("agent.foreign_tool_failed", agent=self._card.id, tool=call.name, code=exc.code)
            return _refusal(call, f"{exc}; answer without it"), ()
        announced = self._keep(self._toolbox.skill_of(call.name), run, work)
        response: dict[str, Any] = {"result": run.output.facts}
        if run.output.constraints:
            response["constraints"] = list(run.output.constraints)
        return ToolResult(name=call.name, id=call.id, response=response), () if announced is None else (announced,)

    async def by_template(
        self, brief: Brief, work: Work, made: dict[str, ToolRun] | None = None
    ) -> AsyncGenerator[AgentEvent]:
        """The answer without a model: what the tools find, told by the template."""
        made = {} if made is None else made
        skill = brief.skills.get(self._card.id)
        problem: dict[str, Any] | None = None
        if skill not in work.facts:
            for name in self._card.tools:
                if self._toolbox.skill_of(name) != skill:
                    continue
                try:
                    arguments = self._toolbox.inferred(name, brief)
                    run = await self._toolbox.run(name, arguments, agent=self._card.id, brief=brief, made=made)
                except InvalidRequest as exc:
                    problem = {"field": exc.field, "message": str(exc)}
                    continue
                if announced := self._keep(skill, run, work):
                    yield announced
        text = self._templates.render(
            self._card.id,
            brief.language,
            facts=work.facts,
            problem=problem,
            profile=brief.task.profile,
            skill=skill,
        )
        for piece in pieces_of(text):
            yield work.say(piece)

    def _keep(self, skill: str, run: ToolRun, work: Work) -> ArtifactMade | None:
        """Adds a run to the work; the artifact is announced the first time it is seen."""
        work.facts[skill] = run.output.facts
        work.constrain(run.output.constraints)
        return None if run.artifact is None else self.announced(run.artifact, work)

    def announced(self, artifact: Artifact, work: Work) -> ArtifactMade | None:
        """The event that tells of it, the first time."""
        if any(artifact.id == each.id for each in work.artifacts):
            return None
        work.artifacts.append(artifact)
        return ArtifactMade(artifact)

    def recover(self, key: str, value: bytes, work: Work) -> None:
        """Takes in a tool run that another process checkpointed, so that the template has it should that one fail."""
        name = key.split(":")[2] if key.count(":") > 2 else ""  # tool:agent:name:hash
        if name in self._card.tools:
            run = decode_run(value)
            work.facts[self._toolbox.skill_of(name)] = run.output.facts
            work.constrain(run.output.constraints)


def _refusal(call: ToolCall, message: str, *, field: str | None = None) -> ToolResult:
    error = {"message": message} if field is None else {"message": message, "field": field}
    return ToolResult(name=call.name, id=call.id, response={"error": error})
