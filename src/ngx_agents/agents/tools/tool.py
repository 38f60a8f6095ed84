"""The contract of a tool: plain arguments in, facts and perhaps an artifact out.

A tool works the same whether a model chose its arguments or they were inferred from the text; it sees the
user's data only through its context. Facts are JSON: the model reads them, the reply template prints them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Any, Protocol, runtime_checkable

import msgspec

from ngx_agents.agents.language import Language as Language
from ngx_agents.state.model import LogEntry, LogKind, Profile
from ngx_agents.vertex.content import ToolDeclaration


class ToolContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool knows of the turn. `now` is Unix seconds; `locale` is the language of the answer.

    `earlier` are the user's own former messages of this conversation, oldest first, the newest within a bound: what
    was said of injuries, allergies and the person holds until it is withdrawn.

    `deadline_s` is the turn's, absolute on the monotonic clock.

    `logs(kind, since)` gives the user's own entries, oldest first; `add_log(kind, at, data, key)` is an
    effect and is never repeated for the same `key` within one turn.
    """

    text: str
    locale: Language
    profile: Profile
    now: float
    logs: Callable[[LogKind, float], Awaitable[Sequence[LogEntry]]]
    add_log: Callable[[LogKind, float, dict[str, object], str], Awaitable[None]]
    earlier: tuple[str, ...] = ()
    deadline_s: float = inf


class ToolOutput(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool found. `kind`, `title` and `data` are the artifact, when one is made.

    `constraints` are limits (injury, allergy, red flag) that every answer built on this must respect, in the
    user's language.
    """

    facts: dict[str, Any]
    kind: str | None = None
    title: str | None = None
    data: dict[str, Any] | None = None
    constraints: tuple[str, ...] = ()


class Tool(Protocol):
    """One thing a specialist can do. Stateless; safe for any number of concurrent runs."""

    @property
    def declaration(self) -> ToolDeclaration:
        """Name, description in both languages, JSON Schema of the arguments."""
        ...

    @property
    def skill(self) -> str:
        """The id of the skill it serves, as the agents' cards name it."""
        ...

    def arguments_from(self, context: ToolContext) -> dict[str, Any]:
        """Arguments inferred from text and profile, without a model."""
        ...

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> ToolOutput:
        """Raises InvalidRequest with `field` for arguments that are missing or out of bounds."""
        ...


@runtime_checkable
class ReadsLogs(Protocol):
    """A tool that looks at the user's logs; they travel with the question when it runs in another process."""

    @property
    def reads(self) -> tuple[LogKind, ...]: ...
