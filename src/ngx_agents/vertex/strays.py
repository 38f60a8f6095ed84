"""Calls that their caller gave up before the first byte.

pyreqwest cannot abort such a call: cancelled, it goes on in Rust, unseen, until it is answered or its deadline passes.
So it is not cancelled. The caller is let go at once, and the call goes on here as a task of its own, keeping its
place in the pool as long as it keeps its connection; when the peer begins to answer, the answer is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class Strays:
    """Producer: cancelled calls; consumer: their own tasks; `close` cancels what is left."""

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self._group.__aenter__()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    def adopt(self, finishing: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(finishing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
