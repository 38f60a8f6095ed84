"""Runs the local model as a process of its own and keeps it running.

Entering opens the listening socket, so that `url` and `token` hold for good, and starts the supervisor; it does not
wait for the weights (`until_ready` does). The supervisor, one task, starts the process, waits for its first line,
starts it again when it dies, and gives up when it dies too often: the socket is closed then, and callers are refused
at once. Leaving ends the process. It also ends by itself when this process dies, because its stdin then closes; it is
not in our process group, so Ctrl-C in a terminal does not reach it before we stop it.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from ngx_agents.clock import Clock
from ngx_agents.resilience.restart_budget import RestartBudget
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.local_model.installed import weights_path
from ngx_agents.vertex.local_model.settings import LocalModelSettings

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 2.0
BACKLOG = 16

log = event_log("local_model")


class LocalModel:
    """`url` is an OpenAI base URL, `token` its bearer. Whether it answers just now is told by `is_up`."""

    def __init__(
        self, *, clock: Clock, metrics: Metrics | None = None, settings: LocalModelSettings | None = None
    ) -> None:
        made = metrics or Metrics()
        self.url = ""
        self.token = secrets.token_urlsafe(32)
        self._clock = clock
        self._settings = settings or LocalModelSettings()
        self._up = made.gauge("ngx_local_model_up", "1 while the local model answers.").labels()
        self._restarts = made.counter("ngx_local_model_restarts_total", "Starts after it had died.").labels()
        self._ready = asyncio.Event()
        self._given_up = asyncio.Event()
        self._process: Process | None = None
        self._listener: socket.socket | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Raises ConfigError when the extra `local` is not installed."""
        weights_path()
        self._listener = socket.create_server((self._settings.host, self._settings.port), backlog=BACKLOG)
        self._listener.set_inheritable(True)
        self.url = f"http://{self._settings.host}:{self._listener.getsockname()[1]}/v1"
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        supervisor = group.create_task(self._supervise(self._listener))
        self._stack.callback(supervisor.cancel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(None, None, None)
        self._close()

    @property
    def is_up(self) -> bool:
        return self._ready.is_set()

    @property
    def pid(self) -> int | None:
        """Of the running process."""
        return self._process.pid if self._process is not None else None

    async def until_ready(self, timeout_s: float = START_TIMEOUT_S) -> bool:
        """True as soon as it answers; False when it has been given up, or `timeout_s` went by."""
        if self._given_up.is_set():
            return False
        try:
            async with asyncio.timeout(timeout_s):
                await self._ready.wait()
        except TimeoutError:
            return False
        return not self._given_up.is_set()

    async def _supervise(self, listener: socket.socket) -> None:
        budget = RestartBudget()
        while True:
            code = await self._run_once(listener)
            delay_s = budget.take(self._clock.monotonic_s())
            if delay_s is None:
                log.error("local_model.given_up", exit_code=code)
                self._given_up.set()
                self._ready.set()  # wakes those who wait; they see that it was given up
                self._ready.clear()
                self._close()
                return
            log.warning("local_model.died", exit_code=code, restart_in_s=delay_s)
            self._restarts.inc()
            await self._clock.sleep(delay_s)

    async def _run_once(self, listener: socket.socket) -> int | None:
        """Returns the exit code once the process has ended, None when there was none."""
        try:
            process = self._process = await self._start(listener)
        except OSError as exc:  # out of memory or processes
            log.warning("local_model.not_started", error=type(exc).__name__)
            return None
        try:
            assert process.stdin is not None  # both are pipes
            assert process.stdout is not None
            process.stdin.write(f"{self.token}\n".encode())
            async with asyncio.timeout(START_TIMEOUT_S):
                line = await process.stdout.readline()
            if line:
                self._up.set(1)
                self._ready.set()
                log.info("local_model.ready", pid=process.pid, url=self.url)
            await process.stdout.read()  # nothing more is said, so this ends with the process
            return await process.wait()
        except TimeoutError:
            return None
        finally:
            self._up.set(0)
            self._ready.clear()
            await _end(process)
            self._process = None

    async def _start(self, listener: socket.socket) -> Process:
        settings = self._settings
        options = {
            "--listener-fd": listener.fileno(),
            "--threads": settings.threads,
            "--niceness": settings.niceness,
            "--max-memory-bytes": settings.max_memory_bytes,
        }
        arguments = [str(part) for option in options.items() for part in option]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ngx_agents.vertex.local_model",
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # a Ctrl-C in the terminal is the server's, which ends it in its own time
        )

    def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None


async def _end(process: Process) -> None:
    """Closes its stdin, upon which it ends itself, and kills it if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await process.wait()
    except TimeoutError:
        process.kill()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
