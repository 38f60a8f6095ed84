"""Runs the emulator: uvicorn on one core, quiet, saying on stdout where it listens."""

from __future__ import annotations

import socket
import sys

import uvicorn

from ngx_agents.vertex.emulator.app import create_app
from ngx_agents.vertex.emulator.exchange import EmulatorProtocol
from ngx_agents.vertex.emulator.settings import EmulatorSettings

BACKLOG = 4096


def run(settings: EmulatorSettings) -> None:
    """Serves until a signal ends it. The first line on stdout is the base URL, once it can be called."""
    listener = socket.create_server((settings.host, settings.port), backlog=BACKLOG)
    config = uvicorn.Config(
        create_app(settings),
        http=EmulatorProtocol,
        loop="uvloop",
        ws="none",
        lifespan="off",
        log_level="critical",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=1,
        timeout_keep_alive=75,
    )
    with listener:
        sys.stdout.write(f"http://{settings.host}:{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        uvicorn.Server(config).run(sockets=[listener])
