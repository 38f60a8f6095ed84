"""Contexts for tools, with the user's entries in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import settings

from ngx_agents.agents.tools.tool import Language, Tool, ToolContext, ToolOutput
from ngx_agents.state.model import LogEntry, LogKind, Profile

QUICK = settings(max_examples=50, deadline=None)
NOW = 1_790_000_000.0
DAY_S = 86_400.0


class Diary:
    """The user's entries: what `logs` reads and `add_log` appends to, once for each key."""

    def __init__(self, entries: Sequence[LogEntry] = ()) -> None:
        self.entries = list(entries)
        self.keys: list[str] = []

    async def logs(self, kind: LogKind, since: float) -> Sequence[LogEntry]:
        return [entry for entry in self.entries if entry.kind == kind and entry.at >= since]

    async def add_log(self, kind: LogKind, at: float, data: dict[str, object], key: str) -> None:
        if key not in self.keys:
            self.keys.append(key)
            self.entries.append(LogEntry(id=key, kind=kind, at=at, data=dict(data)))
            self.entries.sort(key=lambda entry: entry.at)


def context(
    text: str,
    *,
    locale: Language = "es",
    profile: Profile | None = None,
    diary: Diary | None = None,
    earlier: tuple[str, ...] = (),
) -> ToolContext:
    book = diary or Diary()
    return ToolContext(
        text=text,
        locale=locale,
        profile=profile or Profile(),
        now=NOW,
        logs=book.logs,
        add_log=book.add_log,
        earlier=earlier,
    )


async def run(tool: Tool, given: ToolContext, **changes: Any) -> ToolOutput:
    """The tool with the arguments it infers, `changes` put over them."""
    return await tool.run({**tool.arguments_from(given), **changes}, given)


def weights(*pairs: tuple[float, float]) -> list[LogEntry]:
    """Weight entries of (days before now, kg), oldest first."""
    made = [LogEntry(id=str(day), kind="weight", at=NOW - day * DAY_S, data={"kg": kg}) for day, kg in pairs]
    return sorted(made, key=lambda entry: entry.at)
