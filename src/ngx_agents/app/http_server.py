"""One program on its sockets: uvicorn, told to stop by signals, and the banner.

SIGTERM or SIGINT: the server drains (`app.drain`) and ends; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ngx_agents import __version__
from ngx_agents.app.addresses import BACKLOG, url_of
from ngx_agents.app.drain import Drain
from ngx_agents.app.lifespan import Running

KEEP_ALIVE_S = 75
GRACE_S = 2  # for answers under way, when no turn is left


async def serve_on(listeners: Sequence[socket.socket], program: Running, *, ready: Callable[[HttpServer], None]) -> int:
    """Serves until told to stop, by a signal or `HttpServer.stop`; the exit code. `ready` is called at the begin."""
    server = HttpServer(_uvicorn(program), program.drain)
    server.install_signals()
    ready(server)
    _settle_memory()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.leave_when_told())
        await server.serve(sockets=list(listeners))
    return server.exit_code


def _settle_memory() -> None:
    """What is there after the start lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def _uvicorn(program: Running) -> uvicorn.Config:
    return uvicorn.Config(
        program.app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the journal is closed."""

    exit_code = 0

    def __init__(self, config: uvicorn.Config, drain: Drain) -> None:
        super().__init__(config)
        self._drain = drain

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield

    def install_signals(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.stop, 0)
        loop.add_signal_handler(signal.SIGINT, self.stop, 130)

    async def leave_when_told(self) -> None:
        """Other instances still reach this one while it drains: it listens until nothing runs here any more."""
        await self._drain.run()
        self.force_exit = self._drain.is_hurried
        self.should_exit = True

    def stop(self, exit_code: int) -> None:
        """Drains and ends; told again it does not wait."""
        self.exit_code = exit_code
        self._drain.tell()
        for connection in self.server_state.connections:
            if isinstance(connection, HttpToolsProtocol) and connection.cycle is not None:
                connection.cycle.keep_alive = False


def banner(program: Running, address: tuple[str, int]) -> str:
    """What a person sees first: where it listens, what answers, where the data is."""
    config, choice = program.parts.config, program.parts.choice
    url = url_of(address)
    agents = ", ".join(card.id for card in program.parts.team.cards())
    return (
        f"NGX Agents {__version__}\n"
        f"  chat      {url}/\n"
        f"  API       {url}/docs\n"
        f"  team      {agents}\n"
        f"  model     {choice.label}\n"
        f"  journal   {config.journal_label}\n"
        f"  auth      {config.auth.mode}\n"
        "Ctrl-C stops it.\n"
    )
