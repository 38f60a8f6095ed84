"""A real `ngx serve` as a process, for tests of what users do with it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.command import NGX, clean_environ
from tests.ports import free_port


@contextmanager
def running_server(
    cwd: Path, *args: str, port: int = 0, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yields the process and its base URL once it accepts calls; kills it afterwards if it still runs."""
    command = [NGX, "serve", "--port", str(port or free_port()), "--data-dir", "data", *args]
    with subprocess.Popen(
        command,
        cwd=cwd,
        env=clean_environ(**{"NGX_LOCAL_BUILTIN": "off"} | variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            yield process, _base_url(process)
        finally:
            process.kill()


def _base_url(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        name, _, address = line.strip().partition(" ")
        if name == "chat":
            return address.strip().rstrip("/")
    assert process.stderr is not None
    raise RuntimeError(f"the server ended with {process.wait()}: {process.stderr.read()}")
