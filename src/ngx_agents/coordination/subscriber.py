"""Hints from Redis: one connection for publish and subscribe, which comes back by itself.

One task from `open` to `close`; it connects when a first listener comes, subscribes to what is listened to, and hands
what it hears to the `Fanout`. A connection that is silent for `SILENT_S` is asked (PING) and given up when it does not
answer. It waits `jitter * min(5 s, 0.1 s * 2^n)` before the n-th attempt.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from redis.asyncio.connection import AbstractConnection

from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.failures import FOREIGN
from ngx_agents.coordination.fanout import Fanout
from ngx_agents.coordination.servers import Servers
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.errors import NgxError
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

    def __init__(
        self, servers: Servers, tasks: Tasks, *, prefix: str, clock: Clock, rng: Rng, metrics: Metrics
    ) -> None:
        self._servers = servers
        self._tasks = tasks
        self._prefix = prefix
        self._clock = clock
        self._rng = rng
        self.fanout = Fanout(metrics, self._changed)
        self._wanted = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._reconnects = metrics.counter(
            "ngx_shared_reconnects_total", "Connections to Redis made anew after one broke.", "use"
        ).labels("listen")

    async def run(self) -> None:
        failures = 0
        while True:
            await self._wanted.wait()
            try:
                async with asyncio.timeout(DIAL_S):
                    connection = await self._servers.connect_any()
                failures = 0
                await self._serve(connection)
            except (*FOREIGN, NgxError) as error:
                log.warning("shared.listen_lost", reason=type(error).__name__)
                self._reconnects.inc()
                await self._clock.sleep(next_delay_s(failures, self._rng))
                failures += 1

    async def _serve(self, connection: AbstractConnection) -> None:
        try:
            self._connection = connection
            for channel in self.fanout.channels:
                await self._say(connection, "SUBSCRIBE", channel)
            is_asked = False
            while self._wanted.is_set():
                heard = await connection.read_response(
                    disable_decoding=True, timeout=ANSWER_S if is_asked else SILENT_S
                )
                if heard is None and is_asked:
                    raise TimeoutError
                is_asked = heard is None
                if heard is None:
                    await connection.send_command("PING", check_health=False)
                else:
                    self._hear(heard)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)

    def _changed(self, channel: str, is_wanted: bool) -> None:
        if self.fanout.channels:
            self._wanted.set()
        else:
            self._wanted.clear()
        if self._connection is not None:
            self._tasks.spawn(self._say(self._connection, "SUBSCRIBE" if is_wanted else "UNSUBSCRIBE", channel))

    async def _say(self, connection: AbstractConnection, word: str, channel: str) -> None:
        # a broken connection is noticed by who reads from it; written to, it would be opened again behind our back
        if connection.is_connected:
            with contextlib.suppress(*FOREIGN):
                await connection.send_command(word, self._prefix + channel, check_health=False)

    def _hear(self, heard: Any) -> None:
        match heard:
            case [b"message", bytes(channel), bytes(payload)]:
                self.fanout.deliver(channel.decode("utf-8", "replace").removeprefix(self._prefix), payload)
            case _:
                pass


def next_delay_s(failures: int, rng: Rng) -> float:
    """Full jitter below a bound that doubles with every failure in a row."""
    return rng.uniform(0.0, min(MAX_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures, 10)))
