"""A journal that may not be there yet: its server is away when this one starts, or a replica is wrongly configured.

One task owns it: makes it, opens it, migrates it if that was asked for, and closes it; after a failed attempt it makes
a new one, with growing pauses. Callers meanwhile get JournalUnavailable at once. Once open it stays: a journal
reconnects by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable, NgxError
from ngx_agents.state.commands import Command, Grant, Question
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log

log = event_log("state")
FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 5.0


class LateJournal:
    """`make` gives a new journal for each attempt. `is_needed`: what no later attempt can cure is raised by `open`."""

    def __init__(self, make: Callable[[], Journal], *, name: str, clock: Clock, is_needed: bool = True) -> None:
        self._make = make
        self._name = name
        self._clock = clock
        self._is_needed = is_needed
        self._is_to_be_migrated = False
        self._journal: Journal | None = None
        self._trouble: NgxError = JournalUnavailable("the journal is closed")
        self._tasks: asyncio.TaskGroup | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @property
    def is_open(self) -> bool:
        return self._journal is not None

    async def open(self) -> None:
        """Returns after the first attempt. Raises ConfigError, JournalError: no later attempt could cure those."""
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        tried = asyncio.Event()
        self._keeper = self._tasks.create_task(self._keep(tried))
        await tried.wait()
        if self._journal is None and self._is_needed and not isinstance(self._trouble, JournalUnavailable):
            await self.close()
            raise self._trouble

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is None or self._keeper is None:
            return
        self._stopping.set()
        if self._journal is None:
            self._keeper.cancel()
        await tasks.__aexit__(None, None, None)

    async def migrate(self) -> int:
        """The version; 0 while the journal is away: it is migrated when it comes, before anyone may use it."""
        self._is_to_be_migrated = True
        return await self._journal.migrate() if self._journal is not None else 0

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        return await self._there().transact(commands)

    async def query(self, question: Question) -> Any:
        return await self._there().query(question)

    async def claim(self, limit: int, *, instance: str, now: float) -> list[Grant]:
        return await self._there().claim(limit, instance=instance, now=now)

    def _there(self) -> Journal:
        if self._journal is None:
            raise JournalUnavailable(str(self._trouble), retry_after_s=getattr(self._trouble, "retry_after_s", 5.0))
        return self._journal

    async def _keep(self, tried: asyncio.Event) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while (made := await self._attempt()) is None:
                tried.set()
                await self._clock.sleep(pause_s)
                pause_s = min(LAST_PAUSE_S, 2 * pause_s)
            self._journal = made
            tried.set()
            await self._stopping.wait()
        finally:
            made, self._journal = self._journal, None
            self._trouble = JournalUnavailable("the journal is closed")
            if made is not None:
                await made.close()

    async def _attempt(self) -> Journal | None:
        try:
            made = self._make()
            await made.open()
        except NgxError as error:
            self._told(error)
            return None
        try:
            if self._is_to_be_migrated:
                await made.migrate()
        except NgxError as error:
            self._told(error)
            await made.close()
            return None
        return made

    def _told(self, error: NgxError) -> None:
        """Once for each different trouble, not for each attempt."""
        if str(error) != str(self._trouble):
            log.warning("journal.not_opened", journal=self._name, code=error.code, reason=str(error))
        self._trouble = error
