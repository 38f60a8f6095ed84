"""The real server as a process of its own, on a free port and a data directory of the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.server_process import ServerProcess


@contextmanager
def start_server(data_dir: Path, **settings: str) -> Iterator[str]:
    """Yields the base URL of `ngx serve` once it listens. `settings` are `NGX_*` variables without the prefix."""
    with ServerProcess(data_dir, **{f"NGX_{name.upper()}": value for name, value in settings.items()}) as server:
        yield server.base_url
