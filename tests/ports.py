"""Ports for servers that a test starts later, or never, each given once.

The kernel hands out ports from 32768 on to whoever connects, also while a server of ours is still starting: what is
asked for by binding port 0 may be taken before it is used. These are below, and every process begins elsewhere.
"""

from __future__ import annotations

import contextlib
import os
import socket
from itertools import count

FIRST, COUNT = 11_000, 10_000
BUS = 10_000
"""The nodes of a cluster talk at the port that many above their own."""
_numbers = count(os.getpid() * 4_001)


def free_port(*, with_bus: bool = False) -> int:
    """A loopback port nobody listens at; `with_bus`: nor at the one `BUS` above it."""
    for _ in range(COUNT):
        port = FIRST + next(_numbers) % COUNT
        if _is_free(port) and (not with_bus or _is_free(port + BUS)):
            return port
    raise AssertionError("no free port found")


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False
