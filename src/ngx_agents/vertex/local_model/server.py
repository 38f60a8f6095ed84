"""The local model's process: bounded in memory, nice, on loopback only, and gone when its parent is.

A parent holds this process's stdin open: the first line is the token that callers must bring, the end of it means
that the parent has ended, however it did. Started alone there is no parent and no token.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import sys
import threading
from typing import BinaryIO

import uvicorn

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.vertex.local_model.app import LocalModelApp
from ngx_agents.vertex.local_model.engine import Engine
from ngx_agents.vertex.local_model.installed import weights_path
from ngx_agents.vertex.local_model.settings import LocalModelSettings

BACKLOG = 16
MAX_CONNECTIONS = 16
MAX_TOKEN_BYTES = 256


def run(settings: LocalModelSettings, *, parent: BinaryIO | None = None, listener_fd: int | None = None) -> None:
    """Serves until a signal, or the parent's end. The first line on stdout is the URL, once it can be called.

    `listener_fd` is a listening socket of the parent's, instead of `host` and `port`. Raises ConfigError.
    """
    weights = weights_path()
    token = parent.readline(MAX_TOKEN_BYTES).decode().strip() if parent is not None else None
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with _listener(settings, listener_fd) as listener:
        _bound_resources(settings)
        asyncio.run(_serve(settings, listener, Engine(weights, settings, SystemClock()), token))


async def _serve(settings: LocalModelSettings, listener: socket.socket, engine: Engine, token: str | None) -> None:
    async with engine:
        config = uvicorn.Config(
            LocalModelApp(engine, settings, token),
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=75,  # longer than callers keep idle connections, or one is cut as it is used again
        )
        host, port = listener.getsockname()[:2]
        sys.stdout.write(f"http://{f'[{host}]' if ':' in host else host}:{port}/v1\n")
        sys.stdout.flush()
        await uvicorn.Server(config).serve(sockets=[listener])


def _listener(settings: LocalModelSettings, listener_fd: int | None) -> socket.socket:
    if listener_fd is not None:
        return socket.socket(fileno=listener_fd)
    try:
        address = ipaddress.ip_address(settings.host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise ConfigError("the local model listens on loopback addresses only, such as 127.0.0.1")
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)


def _bound_resources(settings: LocalModelSettings) -> None:
    os.nice(settings.niceness)
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = settings.max_memory_bytes if hard == resource.RLIM_INFINITY else min(settings.max_memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _end_with(parent: BinaryIO) -> None:
    """Waits for the end of the parent's pipe. Nothing is worth saving here, so the process ends at once."""
    while parent.read(4096):
        pass
    os._exit(0)
