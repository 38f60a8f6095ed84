"""Starts the emulator as a process of its own, for tests and benchmarks of any room."""

from __future__ import annotations

import atexit
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ngx_agents.clock import SystemClock
from ngx_agents.vertex.emulator.certificate import Certificate, make_certificate


@cache
def certificate() -> Certificate:
    """For 127.0.0.1 and localhost, made once in this process; clients trust its `ca_file`."""
    folder = tempfile.TemporaryDirectory(prefix="ngx-tests-")
    atexit.register(folder.cleanup)
    return make_certificate(Path(folder.name), "127.0.0.1", SystemClock())


@contextmanager
def start_emulator(**options: str | float | bool) -> Iterator[str]:
    """Yields the base URL (`http://127.0.0.1:PORT`) of a running emulator and ends it afterwards.

    `options` are the fields of `EmulatorSettings`: `start_emulator(chunks=10, ttft_ms=5, seed=7)`. With `http2=True`
    it speaks HTTP/2 too; with `tls=True` the URL is https and its certificate is `certificate()`.
    """
    if options.pop("tls", False):
        options = {"tls_cert": str(certificate().cert_file), "tls_key": str(certificate().key_file), **options}
    command = [sys.executable, "-m", "ngx_agents.vertex.emulator"]
    for name, value in {"port": 0, **options}.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            command.append(option)
        elif value is not False:
            command.extend((option, str(value)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            base_url = process.stdout.readline().strip()
            if not base_url:
                raise RuntimeError(f"the emulator ended with {process.wait()}")
            yield base_url
        finally:
            process.terminate()
