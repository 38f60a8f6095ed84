"""Hints on their way to the listeners of this process: one bounded queue each, the oldest lost first, counted.

Producers: the subscriber's connection, or `publish` of the in-process stand-in. Consumers: the `listen` generators,
which leave by being closed or cancelled; `close` ends them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

from ngx_agents.coordination.bounds import MAX_UNHEARD
from ngx_agents.telemetry.metrics import Metrics


class _Listener:
    __slots__ = ("heard", "unheard")

    def __init__(self) -> None:
        self.unheard: deque[bytes] = deque()
        self.heard = asyncio.Event()


class Fanout:
    """`on_change(channel, is_wanted)` hears of a channel's first listener and of its last one leaving."""

    def __init__(self, metrics: Metrics, on_change: Callable[[str, bool], None] | None = None) -> None:
        self._listeners: dict[str, list[_Listener]] = {}
        self._on_change = on_change
        self._is_closed = False
        self._lost = metrics.counter("ngx_shared_hints_lost_total", "Hints a listener was too slow for.").labels()

    @property
    def channels(self) -> tuple[str, ...]:
        """Those that someone listens to."""
        return tuple(self._listeners)

    def deliver(self, channel: str, payload: bytes) -> None:
        for listener in self._listeners.get(channel, ()):
            if len(listener.unheard) >= MAX_UNHEARD:
                listener.unheard.popleft()
                self._lost.inc()
            listener.unheard.append(payload)
            listener.heard.set()

    async def listen(self, channel: str) -> AsyncIterator[bytes]:
        listener = self._enter(channel)
        try:
            while not self._is_closed:
                while listener.unheard:
                    yield listener.unheard.popleft()
                listener.heard.clear()
                await listener.heard.wait()
        finally:
            self._leave(channel, listener)

    def close(self) -> None:
        self._is_closed = True
        for listeners in self._listeners.values():
            for listener in listeners:
                listener.heard.set()

    def _enter(self, channel: str) -> _Listener:
        listener = _Listener()
        listeners = self._listeners.setdefault(channel, [])
        listeners.append(listener)
        if len(listeners) == 1:
            self._tell(channel, True)
        return listener

    def _leave(self, channel: str, listener: _Listener) -> None:
        listeners = self._listeners[channel]
        listeners.remove(listener)
        if not listeners:
            del self._listeners[channel]
            self._tell(channel, False)

    def _tell(self, channel: str, is_wanted: bool) -> None:
        if self._on_change is not None:
            self._on_change(channel, is_wanted)
