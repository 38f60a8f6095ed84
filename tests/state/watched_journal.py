"""Stand-ins at two seams, each around the real thing: what is asked is seen, and it can be out of reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeVar

from ngx_agents.coordination.commands import Command, PutNewer
from ngx_agents.coordination.shared import Shared
from ngx_agents.errors import JournalUnavailable, SharedUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.sqlite_memory import MemoryJournal

R = TypeVar("R")


class WatchedJournal(MemoryJournal):
    """`asked` names the questions in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.is_away = False

    async def query(self, question: c.Question) -> Any:
        self.asked.append(type(question).__name__)
        if self.is_away:
            raise JournalUnavailable("away")
        return await super().query(question)

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        if self.is_away:
            raise JournalUnavailable("away")
        return await super().transact(commands)


class WatchedShared:
    """`hints` is `pass`, `lose` or `hold`; what is held goes out with `release`."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self.hints = "pass"
        self.is_away = False
        self.loses_puts = False
        self._held: list[tuple[str, bytes]] = []

    async def open(self) -> None:
        return

    async def close(self) -> None:
        return

    async def ask(self, command: Command[R]) -> R:
        if self.is_away:
            raise SharedUnavailable("away")
        if self.loses_puts and isinstance(command, PutNewer):
            return False  # type: ignore[return-value]  # what PutNewer answers
        return await self._shared.ask(command)

    async def publish(self, channel: str, payload: bytes) -> None:
        if self.is_away:
            raise SharedUnavailable("away")
        if self.hints == "hold":
            self._held.append((channel, payload))
        elif self.hints == "pass":
            await self._shared.publish(channel, payload)

    def listen(self, channel: str) -> AsyncIterator[bytes]:
        return self._shared.listen(channel)

    async def release(self) -> None:
        self.hints = "pass"
        for channel, payload in self._held:
            await self._shared.publish(channel, payload)
        self._held.clear()
