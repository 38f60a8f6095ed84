"""The seam behind which the durable truth lives.

Contract, for every implementation (proved by `tests/state/journal_conformance.py`):
- A result of `transact` is there only after its transaction is durable (survives `kill -9` and, where the disk obeys
  fsync, a power cut). Commands of one call are applied in order; each fails alone, and its exception stands in the
  result list in place of a result. Only a journal that cannot be reached raises from the call itself.
- At most one instance holds a lane; every write that belongs to a turn matches the granted epoch in the row written.
- A caller that is cancelled while it waits does not undo what it asked for.
- `open` is called once, `close` any number of times. Safe for any number of concurrent tasks of one loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ngx_agents.state.commands import Command, Grant, Question


class Journal(Protocol):
    async def open(self) -> None:
        """Connects and checks the schema. Raises JournalTooNew, JournalLocked, JournalUnavailable, ConfigError."""
        ...

    async def close(self) -> None:
        """Waits for what was handed in, then closes."""
        ...

    async def migrate(self) -> int:
        """Brings the schema to this program's version; returns that version. Forward only, repeatable."""
        ...

    async def transact(self, commands: Sequence[Command]) -> list[Any]:
        """Results or NgxError instances, one per command. Raises JournalUnavailable."""
        ...

    async def query(self, question: Question) -> Any:
        """The answer named in the question's docstring. Raises what it names, or JournalUnavailable."""
        ...

    async def claim(self, limit: int, *, instance: str, now: float) -> list[Grant]:
        """Grants up to `limit` lanes that have waiting turns and no living owner to `instance`, most urgent first.

        Where several instances share the journal, an owner lives while its heartbeat (`Beat`) is valid.
        Raises each granted turn's `attempts` by one and each lane's epoch by one.
        """
        ...
