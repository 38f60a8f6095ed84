"""The seam behind which lies what instances share: a cache, counters, token buckets, hints.

Contract, for every implementation (proved by `tests/coordination/shared_conformance.py`):
- Nothing here is the truth. An entry may be gone, late or lost in a failover at any time; the journal knows.
- `ask` and `publish` end within the implementation's timeout, with an answer or with `SharedUnavailable`; after that
  the command may or may not have been done. `SharedRefused` means it was out of bounds and was not sent.
- Each command is atomic, but for `GetMany`, `Drop` and `DropGroup`.
- A caller that is cancelled while it waits does not undo what it asked for, and disturbs no one else.
- `open` is called once, before all else, `close` any number of times. Safe for any number of tasks of one loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol, TypeVar

from ngx_agents.coordination.commands import Command

R = TypeVar("R")


class Shared(Protocol):
    async def open(self) -> None:
        """Starts; what cannot be reached yet is reached later. Raises ConfigError when credentials are refused."""
        ...

    async def close(self) -> None:
        """Ends every `listen`, fails what still waits with SharedUnavailable."""
        ...

    async def ask(self, command: Command[R]) -> R:
        """The answer named in the command's docstring. Raises SharedUnavailable, SharedRefused."""
        ...

    async def publish(self, channel: str, payload: bytes) -> None:
        """Sends a hint to whoever listens now. Raises SharedUnavailable, SharedRefused."""
        ...

    def listen(self, channel: str) -> AsyncIterator[bytes]:
        """The hints of a channel from about now on, at most once each: those sent while out of touch are lost.

        It outlives failures of what it listens to and ends with `close`. A listener that is `bounds.MAX_UNHEARD` hints
        behind loses the oldest. Use it in `async for`, within `contextlib.aclosing` when it is left before its end.
        """
        ...
