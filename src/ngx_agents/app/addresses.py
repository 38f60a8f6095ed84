"""Where a server listens, and where others reach it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from urllib.parse import urlsplit

from ngx_agents.app.config_sections import Config
from ngx_agents.telemetry.log import event_log

BACKLOG = 2048
log = event_log("app")


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens there; port 0 takes any free one. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        yield listener


def advertised(config: Config, address: tuple[str, int]) -> str | None:
    """Where other instances reach this one; None when that cannot be known from what it listens on."""
    if config.server.advertise is not None:
        return config.server.advertise.rstrip("/")
    if not ip_address(address[0]).is_unspecified:
        return url_of(address, scheme=scheme_of(config))
    if config.is_on_postgres:
        log.warning("address.unknown", hint="set NGX_ADVERTISE, or others cannot show the turns that run here")
    return None


def advertised_worker(config: Config, address: tuple[str, int], private_port: int) -> str | None:
    """Where others reach one worker of a server that listens on `address`: the same host, a port of its own."""
    whole = advertised(config, address)
    if whole is None:
        return None
    parts = urlsplit(whole)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}:{private_port}"


def scheme_of(config: Config) -> str:
    return "http" if config.server.tls_cert is None else "https"


def url_of(address: tuple[str, int], *, scheme: str) -> str:
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    return f"{scheme}://{host}:{address[1]}"
