"""The real server as a process of its own, on a free port and a data directory of the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 10.0


@contextmanager
def start_server(data_dir: Path, **settings: str) -> Iterator[str]:
    """Yields the base URL of `ngx serve` once it is ready. `settings` are `NGX_*` variables without the prefix."""
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("NGX_", "GOOGLE_"))}
    environment |= {f"NGX_{name.upper()}": value for name, value in settings.items()}
    environment |= {"NGX_PORT": str(port), "NGX_DATA_DIR": str(data_dir)}
    log_path = data_dir / "server.log"
    command = [sys.executable, "-m", "ngx_agents.cli.main", "serve"]
    with log_path.open("wb") as log, subprocess.Popen(command, env=environment, stdout=log, stderr=log) as process:
        try:
            base_url = f"http://127.0.0.1:{port}"
            _wait_until_ready(f"{base_url}/readyz", process, log_path)
            yield base_url
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log_path: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (OSError, urllib.error.URLError):
            time.sleep(0.05)
    raise RuntimeError(f"the server did not get ready:\n{log_path.read_text()[-4000:]}")
