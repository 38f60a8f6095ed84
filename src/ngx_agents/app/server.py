"""The server process: socket, banner, signals, uvicorn.

SIGTERM or SIGINT: no new connections and no new turns; running turns get `drain_s`, then their lanes are given back
to the journal for the next start. A second SIGINT does not wait.
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

from ngx_agents import __version__
from ngx_agents.app.config import LoadedConfig
from ngx_agents.app.config_sections import Config
from ngx_agents.app.lifespan import Running, running
from ngx_agents.telemetry.log import configure, event_log
from ngx_agents.turns.engine import TurnEngine

BACKLOG = 2048
KEEP_ALIVE_S = 75
GRACE_S = 2.0
log = event_log("app")


def serve(loaded: LoadedConfig) -> int:
    """Runs until a signal; returns the exit code. Raises NgxError, or OSError when the address cannot be bound."""
    configure(loaded.config.server.log_level)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(loaded.config))


async def _serve(config: Config) -> int:
    with _listen(config.server.host, config.server.port) as listener:
        async with running(config, address=advertised(config, listener.getsockname())) as program:
            server = _Server(_uvicorn(config, program))
            server.install_signals(program.engine)
            sys.stdout.write(banner(program, listener.getsockname()))
            sys.stdout.flush()
            _settle_memory()
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
        timeout_graceful_shutdown=int(config.server.drain_s + GRACE_S),
        backlog=BACKLOG,
    )


class _Server(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the journal is closed."""

    exit_code = 0

    @contextmanager
    @override
    def capture_signals(self) -> Iterator[None]:
        yield

    def install_signals(self, engine: TurnEngine) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop, engine, 0)
        loop.add_signal_handler(signal.SIGINT, self._stop, engine, 130)

    def _stop(self, engine: TurnEngine, exit_code: int) -> None:
        self.force_exit = self.should_exit and exit_code == 130
        engine.begin_drain(0.0 if self.force_exit else None)
        self.should_exit = True
        self.exit_code = exit_code


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
