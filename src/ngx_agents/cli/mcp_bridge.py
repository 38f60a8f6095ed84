"""Carries MCP messages between lines and a server's `/mcp`: each message is a POST, what comes back are lines again.

One task a message, at most MAX_AT_ONCE; then the next line waits. What cannot be carried is answered with a JSON-RPC
error, so that no client waits for ever. Ends when its input does, after the answers that are due.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

import aiohttp

from ngx_agents.cli.sse import EventReader

MAX_LINE_BYTES = 4 * 2**20
MAX_AT_ONCE = 16
TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=120.0)
PARSE_ERROR, INTERNAL = -32700, -32603
_VERSION = "io.modelcontextprotocol/protocolVersion"


class Bridge:
    """`write` takes one message as a line without its end."""

    def __init__(self, url: str, *, api_key: str | None, write: Callable[[str], None]) -> None:
        self._url = f"{url.rstrip('/')}/mcp"
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._write = write
        self._version: str | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=TIMEOUT, trust_env=False)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def carry(self, reader: asyncio.StreamReader) -> None:
        places = asyncio.Semaphore(MAX_AT_ONCE)
        async with asyncio.TaskGroup() as tasks:
            while True:
                try:
                    line = await reader.readline()
                except ValueError:
                    self._fail(None, PARSE_ERROR, "the line is too long")
                    continue
                if not line:
                    return
                if line.strip():
                    await places.acquire()
                    task = tasks.create_task(self._one(line))
                    task.add_done_callback(lambda _: places.release())

    async def _one(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            self._fail(None, PARSE_ERROR, "the line is not JSON")
            return
        asked = message.get("id") if isinstance(message, dict) else None
        try:
            await self._post(line, message)
        except (aiohttp.ClientError, TimeoutError, OSError):
            self._fail(asked, INTERNAL, f"no server answers at {self._url}; is `ngx serve` running?")
        except ValueError:
            self._fail(asked, INTERNAL, f"what answers at {self._url} is no MCP server")

    async def _post(self, line: bytes, message: Any) -> None:
        assert self._session is not None
        headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
        headers |= self._mirrored(message)
        async with self._session.post(self._url, data=line.strip(), headers=headers, allow_redirects=False) as answer:
            if answer.content_type == "text/event-stream":
                if not await self._pass_on(answer.content):
                    self._fail(message.get("id"), INTERNAL, "the server broke the answer off; ask again")
            elif answer.content_type == "application/json":
                self._take(await answer.text())
            elif answer.status != 202 and isinstance(message, dict) and "id" in message:
                self._fail(message["id"], INTERNAL, await _problem(answer))

    async def _pass_on(self, content: aiohttp.StreamReader) -> bool:
        """Whether the answer itself was among what came."""
        reader, is_answered = EventReader(), False
        async for chunk in content.iter_any():
            for event in reader.feed(chunk):
                is_answered = is_answered or "id" in event.data
                self._write(json.dumps(event.data))
        return is_answered

    def _take(self, text: str) -> None:
        """An answer; that to a greeting names the version to speak from then on."""
        answer = json.loads(text)
        result = answer.get("result")
        if isinstance(result, dict) and isinstance(result.get("protocolVersion"), str):
            self._version = result["protocolVersion"]
        self._write(text)

    def _mirrored(self, message: Any) -> dict[str, str]:
        """What MCP over HTTP repeats in headers."""
        params = message.get("params") if isinstance(message, dict) else None
        params = params if isinstance(params, dict) else {}
        meta = params.get("_meta")
        version = meta.get(_VERSION) if isinstance(meta, dict) else None
        if not isinstance(version, str):
            return {} if self._version is None else {"MCP-Protocol-Version": self._version}
        headers = {"MCP-Protocol-Version": version, "Mcp-Method": str(message.get("method"))}
        if isinstance(params.get("name"), str):
            headers["Mcp-Name"] = params["name"]
        return {name: _header_value(value) for name, value in headers.items()}

    def _fail(self, asked: Any, code: int, text: str) -> None:
        self._write(json.dumps({"jsonrpc": "2.0", "id": asked, "error": {"code": code, "message": text}}))


async def standard_streams(source: TextIO, sink: TextIO) -> tuple[asyncio.StreamReader, Callable[[str], None]]:
    """A reader of lines from `source`, and what writes one to `sink`."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)

    def write(line: str) -> None:
        sink.write(line + "\n")
        sink.flush()

    return reader, write


async def _problem(answer: aiohttp.ClientResponse) -> str:
    """What a refusal says, for people."""
    try:
        problem = json.loads(await answer.text())
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered with HTTP {answer.status}"


def _header_value(text: str) -> str:
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{b64encode(text.encode()).decode()}?="
