"""A real journal with faults at its seam: away, or its replies are lost after the work was done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ngx_agents.errors import JournalUnavailable
from ngx_agents.state import commands as c
from ngx_agents.state.journal import Journal


class FaultyJournal:
    """`fault` is asked before each call: "" none, "away" nothing is done, "lost" it is done and the reply is lost."""

    def __init__(self, journal: Journal, fault: Callable[[], str] = lambda: "") -> None:
        self._journal = journal
        self.fault = fault
        self.asked = 0

    async def open(self) -> None:
        await self._journal.open()

    async def close(self) -> None:
        await self._journal.close()

    async def migrate(self) -> int:
        return await self._journal.migrate()

    async def transact(self, commands: Sequence[c.Command]) -> list[Any]:
        return await self._call(lambda: self._journal.transact(commands))

    async def query(self, question: c.Question) -> Any:
        return await self._call(lambda: self._journal.query(question))

    async def claim(self, limit: int, *, instance: str, now: float) -> list[c.Grant]:
        found: list[c.Grant] = await self._call(lambda: self._journal.claim(limit, instance=instance, now=now))
        return found

    async def _call(self, call: Callable[[], Any]) -> Any:
        self.asked += 1
        fault = self.fault()
        if fault == "away":
            raise JournalUnavailable("the database cannot be reached", retry_after_s=2.0)
        answer = await call()
        if fault == "lost":
            raise JournalUnavailable("the database's answer was lost", retry_after_s=2.0)
        return answer
