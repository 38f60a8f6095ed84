"""Several worker processes behind one socket: started, watched, started again, and stopped together.

The supervisor binds the shared socket and one private port for each worker, and serves nothing itself: what it does
must not be able to fail. One task keeps each worker: it listens to the worker's beats, kills one that has fallen
silent, and starts it again within its budget; after that the worker is given up, and said so. When the supervisor is
gone, its workers leave on their own, because their channel ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import Process
from contextlib import ExitStack, suppress
from typing import Final

from ngx_agents.app.addresses import advertised_worker, listening
from ngx_agents.app.config_sections import Config
from ngx_agents.app.shares import share_of
from ngx_agents.app.worker_channel import Beat, Counted, Exposition, Ready, Start, from_worker, tell, told
from ngx_agents.app.worker_tally import WorkerTally
from ngx_agents.clock import Clock, SystemClock
from ngx_agents.resilience.restart_budget import RestartBudget
from ngx_agents.telemetry.log import event_log

START_S: Final = 60.0
SILENT_S: Final = 15.0
SLOW_S: Final = 1.0  # a loop this late is worth a line in the log
END_S: Final = 15.0  # beyond the time that turns are given, before a worker is killed
log = event_log("app")


class Supervisor:
    """`run` once."""

    def __init__(self, config: Config, *, clock: Clock | None = None) -> None:
        self._config = config
        self._count = config.server.workers
        self._clock = clock or SystemClock()
        self._tally = WorkerTally(self._count)
        self._processes: dict[int, Process] = {}
        self._first = asyncio.Event()  # the first worker serves, or never will
        self._stopping = asyncio.Event()
        self._is_served = False
        self._exit_code = 0

    async def run(self) -> int:
        """Runs until a signal, or until no worker is left; the exit code. Raises OSError when it cannot listen."""
        server = self._config.server
        with ExitStack() as stack:
            listener = stack.enter_context(listening(server.host, server.port))
            private = [
                stack.enter_context(listening(server.host, server.peer_port and server.peer_port + worker))
                for worker in range(self._count)
            ]
            self._install_signals()
            async with asyncio.TaskGroup() as tasks:
                ending = tasks.create_task(self._kill_late())
                keeping = [tasks.create_task(self._keep(0, listener, private[0]))]
                await self._first.wait()
                if self._is_served:
                    keeping += [
                        tasks.create_task(self._keep(number, listener, private[number]))
                        for number in range(1, self._count)
                    ]
                await asyncio.wait(keeping)
                ending.cancel()
        return self._exit_code

    def _install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, 0)
        loop.add_signal_handler(signal.SIGINT, self._stop, 130)

    def _stop(self, exit_code: int) -> None:
        """Told again, the workers are told again, and do not wait."""
        self._exit_code = exit_code
        self._stopping.set()
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                process.terminate()

    async def _kill_late(self) -> None:
        await self._stopping.wait()
        await self._clock.sleep(self._config.server.drain_delay_s + self._config.server.drain_s + END_S)
        for worker, process in self._processes.items():
            log.error("worker.killed", worker=worker, reason="late")
            with suppress(ProcessLookupError):
                process.kill()

    async def _keep(self, worker: int, listener: socket.socket, private: socket.socket) -> None:
        budget = RestartBudget()
        while not self._stopping.is_set():
            code = await self._run_once(worker, listener, private)
            self._tally.ended(worker)
            if self._stopping.is_set():
                break
            if not self._is_served:
                self._exit_code = code or 1
                break
            delay_s = budget.take(self._clock.monotonic_s())
            if delay_s is None:
                log.error("worker.given_up", worker=worker, exit_code=code)
                self._tally.given_up(worker)
                self._exit_code = 1
                break
            log.warning("worker.died", worker=worker, exit_code=code, restart_in_s=delay_s)
            self._tally.restarted(worker)
            await self._pause(delay_s)
        self._first.set()

    async def _pause(self, delay_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._stopping.wait()

    async def _run_once(self, worker: int, listener: socket.socket, private: socket.socket) -> int:
        """From start to end; the exit code."""
        here, there = socket.socketpair()
        with there:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "ngx_agents.app.worker",
                *(str(one.fileno()) for one in (listener, private, there)),
                pass_fds=[one.fileno() for one in (listener, private, there)],
                start_new_session=True,  # Ctrl-C reaches the supervisor alone
            )  # fmt: skip
        self._processes[worker] = process
        reader, writer = await asyncio.open_connection(sock=here)
        try:
            address = advertised_worker(self._config, listener.getsockname(), private.getsockname()[1])
            await tell(writer, Start(config=share_of(self._config, worker, self._count), address=address))
            await self._listen(worker, process.pid, reader, writer)
        except (TimeoutError, ValueError) as error:
            log.error(
                "worker.killed", worker=worker, reason="silent" if isinstance(error, TimeoutError) else "confused"
            )
        except OSError:
            pass  # it ended while it was being told something
        finally:
            if not self._stopping.is_set():
                with suppress(ProcessLookupError):
                    process.kill()
            writer.close()
            code = await process.wait()
            del self._processes[worker]
        return code

    async def _listen(self, worker: int, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the worker ends. Raises TimeoutError when it has fallen silent, ValueError for what no worker says."""
        is_started = False
        while True:
            async with asyncio.timeout(SILENT_S if is_started else START_S):
                try:
                    message = from_worker.decode(await told(reader))
                except EOFError:
                    return
            match message:
                case Ready():
                    is_started = True
                    log.info("worker.ready", worker=worker, pid=pid)
                    self._told_ready(message.banner)
                case Beat():
                    self._heard(worker, message)
                case Counted():
                    self._tally.counted(worker, message.snapshot)
                    await tell(writer, Exposition(text=self._tally.exposition()))

    def _told_ready(self, banner: str) -> None:
        if self._is_served:
            return
        self._is_served = True
        self._first.set()
        sys.stdout.write(banner.replace("Ctrl-C", f"  workers   {self._count} (supervisor {os.getpid()})\nCtrl-C"))
        sys.stdout.flush()

    def _heard(self, worker: int, beat: Beat) -> None:
        self._tally.beat(worker, beat.lag_s)
        if beat.snapshot is not None:
            self._tally.counted(worker, beat.snapshot)
        if beat.lag_s > SLOW_S:
            log.warning("worker.slow", worker=worker, lag_s=round(beat.lag_s, 3))
