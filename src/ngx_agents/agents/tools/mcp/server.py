"""One MCP server while ours runs: connected again and again, its tools looked at, its calls bounded.

One task (`keep`) connects, lists, waits for the end, for a doubt or for the next look, and waits longer after each
failure. Calls while it is not connected fail at once; the tools are then not offered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ngx_agents.agents.tools.mcp.channel import Channel
from ngx_agents.agents.tools.mcp.offered import Offered, facts_of, offered
from ngx_agents.agents.tools.mcp.session import Session
from ngx_agents.clock import Clock, Rng
from ngx_agents.errors import RemoteError, RemoteProtocolError, RemoteRefused, RemoteTimeout, RemoteUnavailable
from ngx_agents.resilience.backoff import next_delay_s
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import SECONDS, Metrics

LOOK_S = 300.0  # how often the list of tools is asked for
RETRY_BASE_S, RETRY_CAP_S, LEAST_RETRY_S = 0.5, 30.0, 0.1
MAX_IN_FLIGHT = 16
MAX_TIMEOUTS = 3  # in a row; then it is looked at whether the server still answers
STEADY_S = 30.0  # a connection that lasted as long counts as a success
SPARE_S = 1.0  # of the turn's time, kept for an answer without the tool
_log = event_log("mcp")


@dataclass(frozen=True, slots=True, kw_only=True)
class McpSettings:
    """`connect` makes a channel, not yet opened. `tools` are the allowed names, `*` all; `agents` get them."""

    name: str
    connect: Callable[[], Channel]
    tools: frozenset[str]
    agents: frozenset[str]
    timeout_s: float = 20.0
    max_result_bytes: int = 32_768


class McpMeters:
    def __init__(self, metrics: Metrics) -> None:
        self._calls = metrics.counter("ngx_mcp_calls_total", "Calls of tools elsewhere.", "server", "outcome")
        self._seconds = metrics.histogram("ngx_mcp_seconds", "A call of a tool elsewhere.", "server", buckets=SECONDS)
        self._up = metrics.gauge("ngx_mcp_connected", "1 while the tool server is connected.", "server")

    def called(self, server: str, outcome: str, seconds: float) -> None:
        self._calls.labels(server, outcome).inc()
        self._seconds.labels(server).observe(seconds)

    def connected(self, server: str, is_connected: bool) -> None:
        self._up.labels(server).set(float(is_connected))


class McpServer:
    """`offered` is empty while there is no connection."""

    def __init__(self, settings: McpSettings, *, meters: McpMeters, clock: Clock, rng: Rng) -> None:
        self.settings = settings
        self.offered: Mapping[str, Offered] = {}
        self.looked = asyncio.Event()  # after the first try to connect
        self._meters = meters
        self._clock = clock
        self._rng = rng
        self._session: Session | None = None
        self._doubted = asyncio.Event()
        self._in_flight = 0
        self._timeouts = 0

    async def keep(self) -> None:
        failures = 0
        while True:
            began_s = self._clock.monotonic_s()
            try:
                await self._connected()
            except RemoteError as exc:
                _log.warning("mcp.disconnected", server=self.settings.name, code=exc.code, reason=str(exc))
            self.looked.set()
            if self._clock.monotonic_s() - began_s >= STEADY_S:
                failures = 0
            delay_s = next_delay_s(failures, base_s=RETRY_BASE_S, cap_s=RETRY_CAP_S, rng=self._rng)
            failures += 1
            await self._clock.sleep(max(LEAST_RETRY_S, delay_s))

    async def call(self, tool: Offered, arguments: dict[str, Any], *, deadline_s: float) -> dict[str, Any]:
        """Facts for the model. Raises RemoteError."""
        began_s = self._clock.monotonic_s()
        try:
            facts = await self._call(tool, arguments, min(self.settings.timeout_s, deadline_s - began_s - SPARE_S))
        except RemoteError as exc:
            self._meters.called(self.settings.name, exc.code, self._clock.monotonic_s() - began_s)
            raise
        self._meters.called(self.settings.name, "completed", self._clock.monotonic_s() - began_s)
        return facts

    async def _call(self, tool: Offered, arguments: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        session = self._session
        if session is None:
            raise RemoteUnavailable("the tool server is not connected")
        if self._in_flight >= MAX_IN_FLIGHT:
            raise RemoteUnavailable("as many calls as are allowed run already")
        if timeout_s <= 0:
            raise RemoteTimeout("no time is left to call a tool")
        self._in_flight += 1
        try:
            result = await session.call(tool.name, arguments, timeout_s=timeout_s)
        except RemoteRefused:
            raise
        except RemoteTimeout:
            self._timeouts += 1
            if self._timeouts >= MAX_TIMEOUTS:
                self._doubted.set()
            raise
        except (RemoteUnavailable, RemoteProtocolError):
            self._doubted.set()
            raise
        finally:
            self._in_flight -= 1
        self._timeouts = 0
        return facts_of(self.settings.name, result, self.settings.max_result_bytes)

    async def _connected(self) -> None:
        """From one connection to its end. Raises RemoteError."""
        channel = self.settings.connect()
        try:
            await channel.open()
            session = Session(channel)
            await session.begin()
            while True:
                self._doubted.clear()
                tools = await session.tools()
                self.offered = offered(self.settings.name, tools, self.settings.tools)
                if self._session is None:
                    _log.info("mcp.connected", server=self.settings.name, tools=len(self.offered))
                    self._meters.connected(self.settings.name, True)
                self._session, self._timeouts = session, 0
                self.looked.set()
                await self._rest(channel)
        finally:
            if self._session is not None:
                self._meters.connected(self.settings.name, False)
            self._session, self.offered = None, {}
            await channel.close()

    async def _rest(self, channel: Channel) -> None:
        """Until the next look at the tools is due, or is made due. Raises RemoteUnavailable when the channel ended."""
        try:
            async with asyncio.timeout(LOOK_S), asyncio.TaskGroup() as tasks:
                ended, doubted = tasks.create_task(channel.ended()), tasks.create_task(_waited(self._doubted))
                await asyncio.wait((ended, doubted), return_when=asyncio.FIRST_COMPLETED)
                is_over = ended.done()
                ended.cancel()
                doubted.cancel()
        except TimeoutError:
            return
        if is_over:
            raise RemoteUnavailable("the tool server has ended")


async def _waited(event: asyncio.Event) -> None:
    await event.wait()
