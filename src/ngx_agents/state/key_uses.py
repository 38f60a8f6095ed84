"""When API keys were last used: noted in memory, told to the journal every `EVERY_S` and at the end, never per request.

Of more than `MAX_NOTED` keys used between two tellings, the rest are noted by the next one.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.errors import JournalUnavailable
from ngx_agents.state.commands import TouchKey
from ngx_agents.state.journal import Journal
from ngx_agents.telemetry.log import event_log

log = event_log("state")
EVERY_S = 30.0
MAX_NOTED = 10_000
AT_ONCE = 200


class KeyUses:
    def __init__(self, journal: Journal, *, clock: Clock, every_s: float = EVERY_S) -> None:
        self._journal = journal
        self._clock = clock
        self._every_s = every_s
        self._noted: dict[bytes, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._telling: asyncio.Task[None] | None = None

    def note(self, digest: bytes) -> None:
        if digest in self._noted or len(self._noted) < MAX_NOTED:
            self._noted[digest] = self._clock.now_s()

    async def __aenter__(self) -> Self:
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._telling = self._tasks.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None and self._telling is not None:
            self._telling.cancel()
            await self._tasks.__aexit__(None, None, None)
        await self.tell()

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(self._every_s)
            await self.tell()

    async def tell(self) -> None:
        """What was noted is in the journal, or lost when that is away."""
        noted, self._noted = list(self._noted.items()), {}
        for start in range(0, len(noted), AT_ONCE):
            commands = [TouchKey(digest=digest, at=at) for digest, at in noted[start : start + AT_ONCE]]
            try:
                await self._journal.transact(commands)
            except JournalUnavailable as error:
                log.warning("keys.uses_not_told", code=error.code)
                return
