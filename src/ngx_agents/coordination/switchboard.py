"""From a key to the answer of the server that holds it: lines made as needed, redirections followed once, the map of
a cluster read anew when it proves wrong, scripts sent by name and, to who has not seen them, in full.

One `Line` with a `Breaker` of its own per server, so that a node that fails does not shut out the others.
"""

from __future__ import annotations

import asyncio
from typing import Any

from ngx_agents.clock import Clock, Rng
from ngx_agents.coordination.address import Address
from ngx_agents.coordination.failures import FAILURES, RETRY_AFTER_S, Lost, Refusal, unreachable
from ngx_agents.coordination.line import Line
from ngx_agents.coordination.meters import Meters
from ngx_agents.coordination.scripts import Script
from ngx_agents.coordination.servers import ClusterServers, servers_of
from ngx_agents.coordination.tasks import Tasks
from ngx_agents.coordination.wire import Words
from ngx_agents.errors import ConfigError, SharedUnavailable
from ngx_agents.resilience.breaker import Breaker, BreakerRules
from ngx_agents.telemetry.log import event_log

RULES = BreakerRules(min_calls=10, window_s=5.0, open_s=0.5, max_open_s=2.0, probes=2)
MAX_LINES = 256
REFRESH_PAUSE_S = 0.25
OPEN_S = 3.0
REDIRECTIONS = ("MOVED", "ASK")
WRONG_SERVER = ("READONLY", "MASTERDOWN")  # it was the master
log = event_log("coordination")


class Switchboard:
    """`servers` is there for those who need connections of their own."""

    def __init__(self, address: Address, tasks: Tasks, *, clock: Clock, rng: Rng, meters: Meters, timeout_s: float):
        self._address = address
        self._tasks = tasks
        self._clock = clock
        self._rng = rng
        self._meters = meters
        self._timeout_s = timeout_s
        self.servers = servers_of(address, rng=rng)
        self._lines: dict[str, Line] = {}
        self._is_refreshing = False

    async def open(self) -> None:
        """Raises ConfigError (credentials refused, a file unread); a server that is not there yet is only logged."""
        self.servers.dialler.prepare()
        try:
            async with asyncio.timeout(OPEN_S):
                await self.servers.refresh()
                (await self.servers.connect_any()).abort()
        except FAILURES as error:
            told = unreachable(error, self._address)
            if isinstance(told, ConfigError):
                raise told from error
            log.warning("shared.absent", place=self._address.place, reason=type(error).__name__)

    def close(self) -> None:
        for line in self._lines.values():
            line.close()

    async def send(self, key: str | bytes, words: Words) -> Any:
        """The reply. Raises SharedUnavailable, or the Refusal that came for a reply."""
        line = self._line(self._place_of(key))
        reply = await line.send(words)
        if isinstance(reply, Refusal):
            if reply.code in REDIRECTIONS:
                reply = await self._follow(reply, words)
            elif reply.code in WRONG_SERVER:
                line.drop()
        if isinstance(reply, Lost):
            raise SharedUnavailable("Redis cannot be reached", retry_after_s=RETRY_AFTER_S) from reply
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def run(self, script: Script, keys: tuple[str, ...], *args: bytes | str | int) -> Any:
        """The script's reply; the keys lie in one place."""
        rest = (len(keys), *keys, *args)
        try:
            return await self.send(keys[0], ("EVALSHA", script.sha, *rest))
        except Refusal as refusal:
            if refusal.code != "NOSCRIPT":
                raise
            return await self.send(keys[0], ("EVAL", script.text, *rest))

    def _place_of(self, key: str | bytes) -> str:
        try:
            return self.servers.place_of(key)
        except SharedUnavailable:
            self._refresh()
            raise

    def _line(self, place: str) -> Line:
        line = self._lines.get(place)
        if line is None:
            if len(self._lines) >= MAX_LINES:
                raise SharedUnavailable("too many Redis servers were met")
            line = self._lines[place] = self._new_line(place)
        return line

    def _new_line(self, place: str) -> Line:
        server = place or self._address.place
        breaker = Breaker(
            RULES, clock=self._clock, rng=self._rng,
            on_change=lambda state, reason: self._meters.breaker(server, state, reason),
        )  # fmt: skip

        return Line(
            lambda on_end: self.servers.connect(place, on_end), self._refresh,
            tasks=self._tasks, breaker=breaker, meters=self._meters, timeout_s=self._timeout_s,
        )  # fmt: skip

    async def _follow(self, redirection: Refusal, words: Words) -> Any:
        """Once: where the key has moved to, or (ASK) is moving to."""
        is_moving = redirection.code == "ASK"
        if not is_moving:
            self._refresh()
        host, _, port = str(redirection).rpartition(" ")[2].rpartition(":")
        place = f"{host or self._address.hosts[0][0]}:{port}"
        return await self._line(place).send(words, is_asking=is_moving)

    def _refresh(self) -> None:
        if not self._is_refreshing and isinstance(self.servers, ClusterServers):
            self._is_refreshing = True
            self._tasks.spawn(self._refresh_map())

    async def _refresh_map(self) -> None:
        try:
            await self.servers.refresh()
            self._forget_lines()
        except FAILURES as error:
            log.warning("shared.map_unknown", reason=type(error).__name__)
        finally:
            await self._clock.sleep(REFRESH_PAUSE_S)
            self._is_refreshing = False

    def _forget_lines(self) -> None:
        """Of servers that hold nothing any more: addresses come and go."""
        if isinstance(self.servers, ClusterServers):
            for place in self._lines.keys() - self.servers.masters:
                self._lines.pop(place).close()
