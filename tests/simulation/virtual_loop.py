"""An event loop whose time is not the world's: it jumps to the next timer, and runs what is ready in an order that a
seed decides. The same seed gives the same run. Only for code that waits for timers and itself, never for sockets."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Coroutine
from typing import Any

from typing_extensions import override


class _NoSockets(selectors.BaseSelector):
    """Waits by moving the loop's time."""

    def __init__(self) -> None:
        self.loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everything waits for something that never comes")
        self.loop.now_s += max(0.0, timeout)
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
        raise RuntimeError("no sockets in virtual time")

    def unregister(self, fileobj: Any) -> Any:
        raise RuntimeError("no sockets in virtual time")

    def get_map(self) -> Any:
        return {}


class VirtualLoop(asyncio.BaseEventLoop):
    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now_s = 1000.0
        self._random = random.Random(seed)
        self._selector = _NoSockets()
        self._selector.loop = self

    @override
    def time(self) -> float:
        return self.now_s

    @override
    def _process_events(self, event_list: list[Any]) -> None: ...

    @override
    def _write_to_self(self) -> None: ...

    @override
    def _run_once(self) -> None:
        self._random.shuffle(self._ready)  # type: ignore[attr-defined]  # private, guarded by a test
        super()._run_once()  # type: ignore[misc]


def run_virtually(main: Coroutine[Any, Any, Any], seed: int) -> Any:
    """The result of `main`, run in virtual time; what it left running is cancelled."""
    loop = VirtualLoop(seed)
    try:
        return loop.run_until_complete(main)
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
