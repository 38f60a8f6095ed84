"""One program on its sockets: uvicorn, told to stop by signals, and the banner.

SIGTERM or SIGINT: the server drains (`app.drain`) and ends; a second one does not wait.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import uvicorn
from starlette.types import ASGIApp
from typing_extensions import override

from ngx_agents import __version__
from ngx_agents.app.addresses import BACKLOG, scheme_of, url_of
from ngx_agents.app.agent_server import RunningAgents
from ngx_agents.app.config_edge import EdgeConfig
from ngx_agents.app.config_sections import Config
from ngx_agents.app.connection import Connection
from ngx_agents.app.door import Bounds, Door, networks
from ngx_agents.app.lifespan import Running
from ngx_agents.app.roles import takes_turns
from ngx_agents.errors import ConfigError
from ngx_agents.telemetry.log import event_log
from ngx_agents.telemetry.metrics import Metrics

KEEP_ALIVE_S = 75
GRACE_S = 2  # for answers under way, when no turn is left
HANDSHAKE_S = 10.0  # for TLS, before there is a connection to look at
OTHER_FILES = 1_024  # what a process opens besides its clients
LOOPBACK = ("127.0.0.0/8", "::1")  # a proxy, or whoever measures: on this machine there are other ways to do harm
HSTS = ("strict-transport-security", "max-age=31536000")
log = event_log("app")


class Leaving(Protocol):
    """How a program ends: told once it takes its time, told twice it does not; `run` returns when it is ready to."""

    @property
    def is_hurried(self) -> bool: ...

    def tell(self) -> None: ...

    async def run(self) -> None: ...


class Program(Protocol):
    """What is started and has no socket yet."""

    @property
    def config(self) -> Config: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def app(self) -> ASGIApp: ...

    @property
    def drain(self) -> Leaving: ...


async def serve_on(listeners: Sequence[socket.socket], program: Program, *, ready: Callable[[HttpServer], None]) -> int:
    """Serves until told to stop, by a signal or `HttpServer.stop`; the exit code. `ready` is called at the begin.

    Raises ConfigError when the certificate cannot be used.
    """
    config = program.config
    _allow_connections(config.edge.max_connections)
    door = Door(bounds_of(config.edge), program.metrics, asyncio.get_running_loop().time)
    server = HttpServer(uvicorn_config(program.app, config), program.drain, door)
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


def bounds_of(edge: EdgeConfig) -> Bounds:
    return Bounds(
        max_connections=edge.max_connections,
        max_per_address=edge.max_connections_per_address,
        header_bytes=edge.max_header_bytes,
        header_s=edge.header_timeout_s,
        body_bytes_per_s=edge.min_body_bytes_per_s,
        stalled_s=edge.stalled_timeout_s,
        exempt=networks((*LOOPBACK, *edge.trusted_proxies)),
    )


def _allow_connections(count: int) -> None:
    """As many files as the system lets this process open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OTHER_FILES
    if soft < wanted:
        given = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, given), hard))
        if given < wanted:
            log.warning("connections.fewer", max_open_files=given, wanted=wanted)


def uvicorn_config(app: ASGIApp, config: Config) -> uvicorn.Config:
    """Raises ConfigError when the certificate cannot be used."""
    server, proxies = config.server, config.edge.trusted_proxies
    made = uvicorn.Config(
        app,
        loop="none",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="error",
        proxy_headers=bool(proxies),
        forwarded_allow_ips=list(proxies),
        ssl_certfile=server.tls_cert,
        ssl_keyfile=server.tls_key,
        headers=[HSTS] if server.tls_cert else [],
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
        backlog=BACKLOG,
    )
    try:
        made.load()
    except (OSError, ssl.SSLError) as exc:
        raise ConfigError(f"[server] tls_cert and tls_key cannot be used: {exc.strerror or exc}") from exc
    return made


class HttpServer(uvicorn.Server):
    """uvicorn without its own signal handling, which would end the process before the journal is closed."""

    exit_code = 0

    def __init__(self, config: uvicorn.Config, drain: Leaving, door: Door) -> None:
        super().__init__(config)
        self._drain = drain
        self._door = door

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop, tls = asyncio.get_running_loop(), self.config.ssl

        def connect() -> Connection:
            return Connection(self.config, self.server_state, door=self._door)

        self.servers = [
            await loop.create_server(
                connect, sock=one, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=HANDSHAKE_S if tls else None
            )
            for one in sockets or ()
        ]
        self.started = True

    @override
    async def on_tick(self, counter: int) -> bool:
        self._door.look(each for each in self.server_state.connections if isinstance(each, Connection))
        return await super().on_tick(counter)

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
        self._door.is_closing = True
        for connection in self.server_state.connections:
            if isinstance(connection, Connection) and connection.cycle is not None:
                connection.cycle.keep_alive = False


def banner(program: Running, address: tuple[str, int]) -> str:
    """What a person sees first: where it listens, what answers, where the data is."""
    config, choice = program.parts.config, program.parts.choice
    url = url_of(address, scheme=scheme_of(config))
    server = config.server
    agents = ", ".join(card.id for card in program.parts.team.cards())
    served = f"  chat      {url}/\n  API       {url}/docs\n" if takes_turns(config) else f"  address   {url}/\n"
    role = "" if server.role == "all" else f"  role      {server.role}\n"
    here = f"  here      {', '.join(server.agents)}\n" if server.agents else ""
    return (
        f"NGX Agents {__version__}\n"
        f"{served}{role}"
        f"  team      {agents}\n{here}"
        f"  model     {choice.label}\n"
        f"  journal   {config.journal_label}\n"
        f"  auth      {config.auth.mode}\n"
        "Ctrl-C stops it.\n"
    )


def agents_banner(program: RunningAgents, address: tuple[str, int]) -> str:
    """The same for a process that serves single agents."""
    return (
        f"NGX Agents {__version__}\n"
        f"  address   {url_of(address, scheme=scheme_of(program.config))}/\n"
        "  role      worker\n"
        f"  here      {', '.join(program.agents)}\n"
        f"  model     {program.label}\n"
        "Ctrl-C stops it.\n"
    )
