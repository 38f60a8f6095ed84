"""The server process: socket, banner, signals, uvicorn.

SIGTERM or SIGINT: the server drains (`app.drain`) and ends; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import uvicorn
import uvloop
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ngx_agents import __version__
from ngx_agents.app.config import LoadedConfig
from ngx_agents.app.config_sections import Config
from ngx_agents.app.drain import Drain
from ngx_agents.app.lifespan import Running, running
from ngx_agents.telemetry.log import configure, event_log

BACKLOG = 2048
KEEP_ALIVE_S = 75
GRACE_S = 2  # for answers under way, when no turn is left
log = event_log("app")


def serve(loaded: LoadedConfig) -> int:
    """Runs until a signal; returns the exit code. Raises NgxError, or OSError when the address cannot be bound."""
    configure(loaded.config.server.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded.config))


async def _serve(config: Config) -> int:
    with _listen(config.server.host, config.server.port) as listener:
        async with running(config, address=advertised(config, listener.getsockname())) as program:
            server = _Server(_uvicorn(config, program), program.drain)
            server.install_signals()
            sys.stdout.write(banner(program, listener.getsockname()))
            sys.stdout.flush()
            _settle_memory()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(server.leave_when_told())
                await server.serve(sockets=[listener])
    return server.exit_code


def _settle_memory() -> None:
    """What is there after the start lives as long as the process: the collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        yield listener


def _uvicorn(config: Config, program: Running) -> uvicorn.Config:
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


class _Server(uvicorn.Server):
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
        loop.add_signal_handler(signal.SIGTERM, self._stop, 0)
        loop.add_signal_handler(signal.SIGINT, self._stop, 130)

    async def leave_when_told(self) -> None:
        """Other instances still reach this one while it drains: it listens until nothing runs here any more."""
        await self._drain.run()
        self.force_exit = self._drain.is_hurried
        self.should_exit = True

    def _stop(self, exit_code: int) -> None:
        self.exit_code = exit_code
        self._drain.tell()
        for connection in self.server_state.connections:
            if isinstance(connection, HttpToolsProtocol) and connection.cycle is not None:
                connection.cycle.keep_alive = False


def advertised(config: Config, address: tuple[str, int]) -> str | None:
    """Where other instances reach this one; None when that cannot be known from what it listens on."""
    if config.server.advertise is not None:
        return config.server.advertise.rstrip("/")
    if not ip_address(address[0]).is_unspecified:
        return _url(address)
    if config.is_on_postgres:
        log.warning("address.unknown", hint="set NGX_ADVERTISE, or others cannot show the turns that run here")
    return None


def banner(program: Running, address: tuple[str, int]) -> str:
    """What a person sees first: where it listens, what answers, where the data is."""
    config, choice = program.parts.config, program.parts.choice
    url = _url(address)
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


def _url(address: tuple[str, int]) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"http://{host}:{address[1]}"
