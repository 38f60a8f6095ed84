"""Runs tools for agents: each result is checkpointed, so a turn that is taken over does not run them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from ngx_agents.agents.brief import Brief
from ngx_agents.agents.tools.mcp.servers import McpServers
from ngx_agents.agents.tools.tool import ReadsLogs, Tool, ToolContext, ToolOutput
from ngx_agents.errors import InvalidRequest, RemoteRefused, RemoteUnavailable
from ngx_agents.state.model import Artifact, LogKind, Message
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.content import ToolDeclaration

EARLIER_CHARACTERS = 20_000
_encode = msgspec.json.Encoder(order="deterministic").encode


class ToolRun(msgspec.Struct, frozen=True):
    """A finished run and the artifact made of it."""

    output: ToolOutput
    artifact: Artifact | None


decode_run = msgspec.json.Decoder(ToolRun).decode


class Toolbox:
    """The tools there are, the team's own and foreign ones. `run` raises InvalidRequest for arguments a tool refuses,
    RemoteError where a foreign one does not do its part."""

    def __init__(self, tools: Mapping[str, Tool], metrics: Metrics, foreign: McpServers) -> None:
        self._tools = tools
        self._foreign = foreign
        counter = metrics.counter("ngx_tool_calls_total", "Tool runs by outcome.", "tool", "outcome")
        self._counted = {
            (name, outcome): counter.labels(name, outcome)
            for name in tools
            for outcome in ("done", "recalled", "refused")
        }

    def declarations(self, names: tuple[str, ...]) -> tuple[ToolDeclaration, ...]:
        return tuple(self._tools[name].declaration for name in names)

    def foreign_declarations(self, agent: str) -> tuple[ToolDeclaration, ...]:
        """Those that this agent is given now."""
        return self._foreign.declarations(agent)

    def is_foreign(self, agent: str, name: str) -> bool:
        return name not in self._tools and self._foreign.tool(agent, name) is not None

    def skill_of(self, name: str) -> str:
        """A foreign tool serves no skill of the team's."""
        own = self._tools.get(name)
        return f"mcp:{name}" if own is None else own.skill

    def reads_of(self, names: tuple[str, ...]) -> tuple[LogKind, ...]:
        """The kinds of the user's logs that these tools look at."""
        reading = (self._tools[name] for name in names)
        return tuple(dict.fromkeys(kind for tool in reading if isinstance(tool, ReadsLogs) for kind in tool.reads))

    def inferred(self, name: str, brief: Brief) -> dict[str, Any]:
        """The arguments that text and profile give, without a model."""
        return self._tools[name].arguments_from(_context(brief))

    async def run(
        self, name: str, arguments: dict[str, Any], *, agent: str, brief: Brief, made: dict[str, ToolRun]
    ) -> ToolRun:
        """The run with these arguments: of this attempt (`made`, which it joins), of an earlier one, or a new one."""
        key = f"tool:{agent}:{name}:{blake2b(_encode(arguments), digest_size=8).hexdigest()}"
        if key in made:
            return made[key]
        known = brief.desk.recall(key)
        if known is not None:
            self._count(name, "recalled")
            made[key] = decode_run(known)
        else:
            if self._foreign.has_effects(agent, name):
                await _intend(f"{key}:intended", brief, made)
            made[key] = await self._run(key, name, arguments, agent=agent, brief=brief)
        return made[key]

    async def _run(self, key: str, name: str, arguments: dict[str, Any], *, agent: str, brief: Brief) -> ToolRun:
        try:
            output = await self._output(name, arguments, agent=agent, brief=brief)
        except InvalidRequest:
            self._count(name, "refused")
            raise
        run = ToolRun(output, _artifact(output, agent, brief))
        await brief.desk.checkpoint(key, _encode(run))
        self._count(name, "done")
        return run

    async def _output(self, name: str, arguments: dict[str, Any], *, agent: str, brief: Brief) -> ToolOutput:
        own = self._tools.get(name)
        if own is not None:
            return await own.run(arguments, _context(brief))
        foreign = self._foreign.tool(agent, name)
        if foreign is None:
            raise RemoteUnavailable("the tool is not there any more")
        return await foreign.run(arguments, _context(brief))

    def _count(self, name: str, outcome: str) -> None:
        counted = self._counted.get((name, outcome))
        if counted is not None:
            counted.inc()


async def _intend(key: str, brief: Brief, made: dict[str, ToolRun]) -> None:
    """Leaves a mark before an effect. Raises RemoteRefused when there is one: nobody knows how that try ended."""
    if key in made or brief.desk.recall(key) is not None:
        raise RemoteRefused("an earlier try may have done this already; it is not repeated")
    made[key] = ToolRun(ToolOutput(facts={}), None)
    await brief.desk.checkpoint(key, b"{}")


def _context(brief: Brief) -> ToolContext:
    task, desk = brief.task, brief.desk
    return ToolContext(
        text=task.text,
        locale=brief.language,
        profile=task.profile,
        now=task.now,
        logs=desk.logs,
        add_log=desk.add_log,
        earlier=_earlier(task.history),
        deadline_s=task.deadline_s,
    )


def _earlier(history: Sequence[Message]) -> tuple[str, ...]:
    """The user's former messages, the newest within EARLIER_CHARACTERS, oldest first."""
    kept: list[str] = []
    left = EARLIER_CHARACTERS
    for message in reversed(history):
        if message.role == "user":
            left -= len(message.text)
            if left < 0:
                break
            kept.append(message.text)
    return tuple(reversed(kept))


def _artifact(output: ToolOutput, agent: str, brief: Brief) -> Artifact | None:
    if output.kind is None or output.data is None:
        return None
    return brief.desk.new_artifact(agent=agent, kind=output.kind, title=output.title or output.kind, data=output.data)
