"""An MCP server elsewhere, over streamable HTTP: each message is a POST, answered by JSON or a short event stream.

What a stream says before the answer (progress, logs) is dropped; the whole of it is bounded in time and bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ngx_agents.agents.remote.http import ForeignHttp, Reply
from ngx_agents.agents.tools.mcp.channel import MAX_MESSAGE_BYTES, incoming, result_of
from ngx_agents.agents.tools.mcp.wire import MODERN, Incoming, header_value, notification, request
from ngx_agents.errors import ModelProtocolError, RemoteError, RemoteProtocolError, RemoteUnavailable
from ngx_agents.vertex.sse import FrameSplitter

NOTIFY_S = 5.0
MAX_CONNECTIONS = 32
EVENT_STREAM = "text/event-stream"


class HttpChannel:
    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        self._url = url
        self._http = ForeignHttp([url], headers=headers, max_bytes=MAX_MESSAGE_BYTES, limit=MAX_CONNECTIONS)
        self._version: str | None = None
        self._session: str | None = None
        self._numbers = 0

    async def open(self) -> None:
        await self._http.__aenter__()

    async def close(self) -> None:
        if self._session is not None:
            try:
                async with self._http.asking("DELETE", self._url, timeout_s=1.0, headers=self._headers()):
                    pass
            except RemoteError:
                pass  # the server will forget the session by itself
        await self._http.__aexit__(None, None, None)

    async def request(self, method: str, params: dict[str, Any], *, timeout_s: float) -> bytes:
        self._numbers += 1
        number = self._numbers
        headers = self._headers() | {"MCP-Protocol-Version": MODERN} if method == "server/discover" else self._headers()
        if headers.get("MCP-Protocol-Version") == MODERN:
            headers["Mcp-Method"] = method
            if method == "tools/call":
                headers["Mcp-Name"] = header_value(str(params["name"]))
        body = request(method, params, number)
        async with self._http.asking("POST", self._url, body=body, timeout_s=timeout_s, headers=headers) as reply:
            if reply.status == 404 and self._session is not None:
                raise RemoteUnavailable("the tool server forgot the session")
            reply.check()
            if method == "initialize":
                self._session = reply.header("Mcp-Session-Id")
            return result_of(await _answer(reply, number))

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        body = notification(method, params)
        async with self._http.asking(
            "POST", self._url, body=body, timeout_s=NOTIFY_S, headers=self._headers()
        ) as reply:
            reply.check()

    def speak(self, version: str) -> None:
        self._version = version

    async def ended(self) -> None:
        await asyncio.Event().wait()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": f"application/json, {EVENT_STREAM}"}
        if self._version is not None:
            headers["MCP-Protocol-Version"] = self._version
        if self._session is not None:
            headers["Mcp-Session-Id"] = self._session
        return headers


async def _answer(reply: Reply, number: int) -> Incoming:
    """The response with this number. Raises RemoteProtocolError when there is none."""
    if reply.media_type != EVENT_STREAM:
        return incoming(await reply.body())
    splitter = FrameSplitter()
    try:
        async for chunk in reply.chunks():
            for frame in splitter.feed(chunk):
                if frame and (message := incoming(frame)).method is None and message.id == number:
                    return message
    except ModelProtocolError as exc:
        raise RemoteProtocolError("the tool server's event stream cannot be read") from exc
    raise RemoteUnavailable("the tool server broke the answer off")
