"""What to tell a user whose server cannot listen where it was told to."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ngx_agents.errors import ConfigError, NgxError


@contextmanager
def explained_binding(host: str, port: int, *, setting: str = "--port") -> Iterator[None]:
    """Turns the errors of listening into typed ones that say what to do; `setting` is what chooses the port."""
    try:
        yield
    except socket.gaierror as exc:
        raise ConfigError(f"{host} is not a known host: choose another with --host") from exc
    except OSError as exc:
        told = _explanation(exc, host, port, setting=setting)
        if told is None:
            raise
        raise told from exc


def _explanation(exc: OSError, host: str, port: int, *, setting: str) -> NgxError | None:
    match exc.errno:
        case errno.EADDRINUSE:
            return NgxError(
                f"port {port} on {host} is in use: stop what listens there, or choose another with {setting}"
            )
        case errno.EACCES if port < 1024:
            return NgxError(f"port {port} needs privileges: choose one above 1023 with {setting}")
        case errno.EADDRNOTAVAIL:
            return ConfigError(f"{host} is not an address of this machine: choose another with --host")
        case _:
            return None
