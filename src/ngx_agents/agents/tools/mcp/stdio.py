"""An MCP server run here as a process: one JSON message a line on its standard input and output.

One task reads (`_read`); callers wait for the answer with their number. What the server says on its own is dropped, and
bounded: one that talks without being asked is ended. It gets the variables that were named for it and no other; what it
writes to standard error is not kept. It lives in a process group of its own, which is ended as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

from ngx_agents.agents.tools.mcp.channel import MAX_MESSAGE_BYTES, incoming, result_of
from ngx_agents.agents.tools.mcp.wire import METHOD_NOT_FOUND, Incoming, encode, notification, request
from ngx_agents.errors import RemoteError, RemoteProtocolError, RemoteTimeout, RemoteUnavailable

CLOSE_S = 2.0  # after its input has ended; then the whole group is killed
KILLED_S = 2.0
MAX_UNASKED_BYTES = 8 * 2**20  # between two answers
WRITE_S = 5.0


class StdioChannel:
    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self._command = command
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._tasks = asyncio.TaskGroup()
        self._waiting: dict[int, asyncio.Future[Incoming]] = {}
        self._numbers = 0
        self._unasked_bytes = 0
        self._broken: RemoteError | None = None
        self._over = asyncio.Event()

    async def open(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=dict(self._environment),
                limit=MAX_MESSAGE_BYTES,
                start_new_session=True,
            )
        except (OSError, ValueError) as exc:
            raise RemoteUnavailable("the tool server's program cannot be run") from exc
        assert self._process.stdout is not None
        await self._tasks.__aenter__()
        self._reader = self._tasks.create_task(self._read(self._process.stdout))

    async def close(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        self._break(RemoteUnavailable("the tool server was stopped"))
        assert process.stdin is not None
        process.stdin.close()
        try:
            await _exited(process, CLOSE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also what it has started
            if self._reader is not None:
                self._reader.cancel()
            await self._tasks.__aexit__(None, None, None)
            await _drained(process)

    async def request(self, method: str, params: dict[str, Any], *, timeout_s: float) -> bytes:
        self._numbers += 1
        number = self._numbers
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(timeout_s):
                await self._write(request(method, params, number))
                return result_of(await answer)
        except TimeoutError as exc:
            await self._give_up(number)
            raise RemoteTimeout("the tool server did not answer in time") from exc
        except asyncio.CancelledError:
            await self._give_up(number)
            raise
        finally:
            self._waiting.pop(number, None)

    async def notify(self, method: str, params: dict[str, Any]) -> None:
        async with asyncio.timeout(WRITE_S):
            await self._write(notification(method, params))

    def speak(self, version: str) -> None:
        """Nothing of it stands on this wire."""

    async def ended(self) -> None:
        await self._over.wait()

    async def _give_up(self, number: int) -> None:
        """Tells the server that nobody waits; if it does not take even that, the connection is over."""
        try:
            await self.notify("notifications/cancelled", {"requestId": number})
        except (RemoteError, TimeoutError):
            self._break(RemoteUnavailable("the tool server reads nothing any more"))

    async def _write(self, message: bytes) -> None:
        if self._broken is not None or self._process is None:
            raise self._broken or RemoteUnavailable("the tool server is not running")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(message + b"\n")
            await self._process.stdin.drain()
        except (OSError, RuntimeError) as exc:
            raise RemoteUnavailable("the tool server has ended") from exc

    async def _read(self, stream: asyncio.StreamReader) -> None:
        try:
            while line := await stream.readline():
                if line.strip():
                    self._unasked_bytes += len(line)
                    await self._take(incoming(line))
            self._break(RemoteUnavailable("the tool server has ended"))
        except RemoteError as exc:
            self._break(exc)
        except (ValueError, OSError) as exc:
            trouble = RemoteProtocolError("the tool server sends a message that is too long")
            trouble.__cause__ = exc
            self._break(trouble)

    async def _take(self, message: Incoming) -> None:
        if message.method is None and isinstance(message.id, int):
            waiting = self._waiting.get(message.id)
            if waiting is not None and not waiting.done():
                self._unasked_bytes = 0
                waiting.set_result(message)
                return
        elif message.method is not None and message.id is not None:
            await self._answer(message)
        if self._unasked_bytes > MAX_UNASKED_BYTES:
            raise RemoteProtocolError("the tool server floods")

    async def _answer(self, asked: Incoming) -> None:
        """It may ask whether we are there; nothing else was offered to it."""
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": asked.id}
        if asked.method == "ping":
            reply["result"] = {}
        else:
            reply["error"] = {"code": METHOD_NOT_FOUND, "message": "not offered"}
        try:
            async with asyncio.timeout(WRITE_S):
                await self._write(encode(reply))
        except TimeoutError as exc:
            raise RemoteUnavailable("the tool server reads nothing any more") from exc

    def _break(self, error: RemoteError) -> None:
        self._broken = self._broken or error
        self._over.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(error)


async def _exited(process: asyncio.subprocess.Process, within_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await process.wait()


async def _drained(process: asyncio.subprocess.Process) -> None:
    """Reads what a killed process left in the pipe, because asyncio lets go of it only at the pipe's end."""
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(KILLED_S):
            while await process.stdout.read(65_536):
                pass
            await process.wait()
            return
    # a descendant that left the group still holds the pipe; asyncio has no public way to close our end of it
    process._transport.close()  # type: ignore[attr-defined]
