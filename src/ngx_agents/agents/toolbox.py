"""Runs tools for agents: each result is checkpointed, so a turn that is taken over does not run them again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from ngx_agents.agents.brief import Brief
from ngx_agents.agents.tools.tool import ReadsLogs, Tool, ToolContext, ToolOutput
from ngx_agents.errors import InvalidRequest
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
    """The tools there are. Raises InvalidRequest from `run` for arguments a tool refuses."""

    def __init__(self, tools: Mapping[str, Tool], metrics: Metrics) -> None:
        self._tools = tools
        counter = metrics.counter("ngx_tool_calls_total", "Tool runs by outcome.", "tool", "outcome")
        self._counted = {
            (name, outcome): counter.labels(name, outcome)
            for name in tools
            for outcome in ("done", "recalled", "refused")
        }

    def declarations(self, names: tuple[str, ...]) -> tuple[ToolDeclaration, ...]:
        return tuple(self._tools[name].declaration for name in names)

    def skill_of(self, name: str) -> str:
        return self._tools[name].skill

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
        if key not in made:
            made[key] = await self._run(key, name, arguments, agent=agent, brief=brief)
        return made[key]

    async def _run(self, key: str, name: str, arguments: dict[str, Any], *, agent: str, brief: Brief) -> ToolRun:
        known = brief.desk.recall(key)
        if known is not None:
            self._counted[name, "recalled"].inc()
            return decode_run(known)
        try:
            output = await self._tools[name].run(arguments, _context(brief))
        except InvalidRequest:
            self._counted[name, "refused"].inc()
            raise
        run = ToolRun(output, _artifact(output, agent, brief))
        await brief.desk.checkpoint(key, _encode(run))
        self._counted[name, "done"].inc()
        return run


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
