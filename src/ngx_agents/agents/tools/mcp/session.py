"""The protocol over a channel: agree on a version, list the tools, call one.

A server is first asked in the newest version, which needs no handshake; one that does not know it is greeted the old
way.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from ngx_agents.agents.tools.mcp.channel import Channel
from ngx_agents.agents.tools.mcp.wire import (
    CLIENT,
    HANDSHAKES,
    MODERN,
    CallResult,
    Discovered,
    Initialized,
    ToolPage,
    ToolWire,
    modern_params,
)
from ngx_agents.errors import RemoteProtocolError, RemoteRefused, RemoteTimeout

DISCOVER_S, HANDSHAKE_S, LIST_S = 5.0, 20.0, 20.0
MAX_PAGES, MAX_TOOLS = 20, 128
T = TypeVar("T")


class Session:
    """Everything raises RemoteError."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._is_modern = False

    async def begin(self) -> None:
        if await self._discover():
            self._is_modern = True
            self._channel.speak(MODERN)
            return
        params = {"protocolVersion": HANDSHAKES[0], "capabilities": {}, "clientInfo": CLIENT}
        raw = await self._channel.request("initialize", params, timeout_s=HANDSHAKE_S)
        version = _decoded(raw, Initialized).protocol_version
        if version not in HANDSHAKES:
            raise RemoteProtocolError("the tool server speaks a version that is not known here")
        self._channel.speak(version)
        await self._channel.notify("notifications/initialized", {})

    async def tools(self) -> list[ToolWire]:
        """All of them, or the first MAX_TOOLS."""
        found: list[ToolWire] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            params = {} if cursor is None else {"cursor": cursor}
            page = _decoded(await self._request("tools/list", params, timeout_s=LIST_S), ToolPage)
            found += page.tools
            cursor = page.next_cursor
            if cursor is None or len(found) >= MAX_TOOLS:
                break
        return found[:MAX_TOOLS]

    async def call(self, name: str, arguments: dict[str, Any], *, timeout_s: float) -> CallResult:
        raw = await self._request("tools/call", {"name": name, "arguments": arguments}, timeout_s=timeout_s)
        result = _decoded(raw, CallResult)
        if result.result_type != "complete":
            raise RemoteRefused("the tool asks back, which nobody here can answer")
        return result

    async def _discover(self) -> bool:
        try:
            raw = await self._channel.request("server/discover", modern_params({}), timeout_s=DISCOVER_S)
            return MODERN in _decoded(raw, Discovered).supported_versions
        except (RemoteRefused, RemoteTimeout):  # old servers refuse what they do not know, or ignore it
            return False

    async def _request(self, method: str, params: dict[str, Any], *, timeout_s: float) -> bytes:
        if self._is_modern:
            params = modern_params(params)
        return await self._channel.request(method, params, timeout_s=timeout_s)


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError("the tool server's result cannot be read") from exc
