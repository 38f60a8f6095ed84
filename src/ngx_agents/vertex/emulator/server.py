"""Runs the emulator on one core, quiet, saying on stdout where it listens.

uvicorn serves HTTP/1.1; with `http2` set, granian serves both versions (`server_http2`).
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from ngx_agents.clock import SystemClock
from ngx_agents.errors import ConfigError
from ngx_agents.vertex.emulator.app import create_app
from ngx_agents.vertex.emulator.exchange import EmulatorProtocol
from ngx_agents.vertex.emulator.settings import EmulatorSettings

BACKLOG = 4096


def run(settings: EmulatorSettings) -> None:
    """Serves until a signal ends it. The first line on stdout is the base URL, once it can be called.

    With a certificate made here, a second line names the authority's file. Raises ConfigError.
    """
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise ConfigError("a certificate needs its key, and a key its certificate: give both or neither")
    with _certified(settings) as (cert, key, authority):
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)  # as the server does: a full collection beside thousands of streams is a stall
        if settings.http2:
            from ngx_agents.vertex.emulator.server_http2 import serve

            serve(settings, cert, key, lambda port: _announce(settings.host, port, cert, authority))
        else:
            _serve(settings, cert, key, authority)


def _serve(settings: EmulatorSettings, cert: Path | None, key: Path | None, authority: Path | None) -> None:
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
        ssl_certfile=cert,
        ssl_keyfile=key,
    )
    with listener:
        config.load()  # a certificate that cannot be read ends here, before anything is announced
        if authority is not None:  # uvicorn raises SIGTERM again at its end: the files made here are cleared first
            signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        _announce(settings.host, listener.getsockname()[1], cert, authority)
        uvicorn.Server(config).run(sockets=[listener])


@contextmanager
def _certified(settings: EmulatorSettings) -> Iterator[tuple[Path | None, Path | None, Path | None]]:
    """Certificate, key, and the authority when it was made here."""
    if settings.tls_cert:
        paths = Path(settings.tls_cert), Path(settings.tls_key)
        if missing := next((path for path in paths if not path.is_file()), None):
            raise ConfigError(f"there is no file {missing}")
        yield *paths, None
    elif settings.tls:
        from ngx_agents.vertex.emulator.certificate import make_certificate

        with tempfile.TemporaryDirectory(prefix="ngx-emulator-") as folder:
            made = make_certificate(Path(folder), settings.host, SystemClock())
            yield made.cert_file, made.key_file, made.ca_file
    else:
        yield None, None, None


def _announce(host: str, port: int, cert: Path | None, authority: Path | None) -> None:
    sys.stdout.write(f"{'https' if cert else 'http'}://{host}:{port}\n")
    if authority is not None:
        sys.stdout.write(f"authority {authority}\n")
    sys.stdout.flush()
