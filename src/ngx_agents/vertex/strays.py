"""What a transport finishes in the background: calls given up before the first byte, and connections being closed.

pyreqwest cannot abort a call before its first byte: cancelled, it goes on in Rust, unseen, until it is answered or its
deadline passes. So it is not cancelled. The caller is let go at once, and the call goes on here as a task of its own,
keeping its place in the pool as long as it keeps its connection; when the peer begins to answer, the answer is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Strays:
    """Producer: cancelled calls and closed connections; consumer: their own tasks; `close` cancels what is left."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def open(self) -> None:
        await self._group.__aenter__()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def adopt(self, finishing: Coroutine[Any, Any, None]) -> None:
        """Runs it to its end, whoever is cancelled meanwhile. It must raise nothing."""
        self.start(finishing)  # type: ignore[unused-awaitable]  # the group awaits it

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """The task that does `work` for whoever wants to await it. It must raise nothing."""
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Unbroken(Generic[Result]):
    """Awaits a call, but a cancel is not passed on to it: `abandon` is called with what is still to be awaited."""

    __slots__ = ("_abandon", "_call")

    def __init__(self, call: Awaitable[Result], abandon: Callable[[Awaitable[Result]], None]) -> None:
        self._call = call
        self._abandon = abandon

    def __await__(self) -> Generator[Any, Any, Result]:
        steps = self._call.__await__()
        while True:
            try:
                waited_for = steps.send(None)
            except StopIteration as stop:
                result: Result = stop.value
                return result
            try:
                yield waited_for
            except asyncio.CancelledError:
                self._abandon(self._call)
                raise
