"""Hints from Redis: one connection for publish and subscribe, which comes back by itself.

One task from `open` to `close`; it connects when a first listener comes, subscribes to what is listened to, and what
the connection hears goes to the `Fanout`. A connection that is silent for `SILENT_S` is asked (PING) and given up when
it does not answer. It waits `jitter * min(5 s, 0.1 s * 2^n)` before the attempt after n failures in a row.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.failures import FAILURES, Lost
from ngx_agents.coordination.fanout import Fanout
from ngx_agents.coordination.servers import Servers
from ngx_agents.coordination.wire import Wire, pack
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

SILENT_S = 5.0
ANSWER_S = 2.0
DIAL_S = 2.0
FIRST_DELAY_S = 0.1
MAX_DELAY_S = 5.0
log = event_log("coordination")


class Subscriber:
    """`prefix` stands before the names of channels in Redis and nowhere else."""

    def __init__(self, servers: Servers, *, prefix: str, clock: Clock, rng: Rng, metrics: Metrics) -> None:
        self._servers = servers
        self._prefix = prefix
        self._clock = clock
        self._rng = rng
        self.fanout = Fanout(metrics, self._changed)
        self._is_wanted = asyncio.Event()
        self._has_news = asyncio.Event()
        self._wire: Wire | None = None
        self._reconnects = metrics.counter(
            "ngx_shared_reconnects_total", "Connections to Redis made anew after one broke.", "use"
        ).labels("listen")

    async def run(self) -> None:
        failures = 0
        while True:
            await self._is_wanted.wait()
            try:
                async with asyncio.timeout(DIAL_S):
                    wire = await self._servers.connect_any(self._has_news.set, self._hear)
                failures = 0
                await self._serve(wire)
            except FAILURES as error:
                log.warning("shared.listen_lost", reason=type(error).__name__)
                self._reconnects.inc()
                await self._clock.sleep(next_delay_s(failures, self._rng))
                failures += 1

    async def _serve(self, wire: Wire) -> None:
        """Until nobody listens any more. Raises Lost."""
        try:
            self._wire = wire
            for channel in self.fanout.channels:
                self._say("SUBSCRIBE", channel)
            while self._is_wanted.is_set():
                if not wire.is_open:
                    raise Lost
                if not await self._hears_something(SILENT_S):
                    wire.send(pack(("PING",)))
                    if not await self._hears_something(ANSWER_S):
                        raise Lost
        finally:
            self._wire = None
            wire.abort()

    async def _hears_something(self, within_s: float) -> bool:
        self._has_news.clear()
        try:
            async with asyncio.timeout(within_s):
                await self._has_news.wait()
        except TimeoutError:
            return False
        return True

    def _changed(self, channel: str, is_wanted: bool) -> None:
        if self.fanout.channels:
            self._is_wanted.set()
        else:
            self._is_wanted.clear()
        self._say("SUBSCRIBE" if is_wanted else "UNSUBSCRIBE", channel)

    def _say(self, word: str, channel: str) -> None:
        if self._wire is not None:
            self._wire.send(pack((word, self._prefix + channel)))

    def _hear(self, heard: Any) -> None:
        self._has_news.set()
        match heard:
            case [b"message", bytes(channel), bytes(payload)]:
                self.fanout.deliver(channel.decode("utf-8", "replace").removeprefix(self._prefix), payload)
            case _:
                pass


def next_delay_s(failures: int, rng: Rng) -> float:
    """Full jitter below a bound that doubles with every failure in a row."""
    return rng.uniform(0.0, min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures, 10)))
