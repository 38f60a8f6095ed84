"""A real `ngx serve` for tests that need one: started on a free port, ended by its process id."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from signal import Signals
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.ports import free_port

START_S = 20.0


class ServerProcess:
    """`environ` are NGX_* variables; a killed server can be started again on the same data."""

    def __init__(self, data_dir: Path, **environ: str) -> None:
        self.data_dir = data_dir
        self.environ = environ
        self._process: subprocess.Popen[str] | None = None
        self.base_url = ""
        self.keeps_port = False  # started again, it listens where it did before

    def start(self) -> Self:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("NGX_", "GOOGLE_"))}
        environ = {
            **inherited, "NGX_DATA_DIR": str(self.data_dir), "NGX_PORT": self._port(), "PYTHONUNBUFFERED": "1",
            "NGX_LOCAL_BUILTIN": "off", **self.environ
        }  # fmt: skip
        ngx = Path(sys.executable).with_name("ngx")
        self._process = subprocess.Popen(
            [str(ngx), "serve"], env=environ, stdout=subprocess.PIPE, text=True, cwd=self.data_dir
        )
        self.base_url = self._address()
        return self

    def _port(self) -> str:
        return str(urlsplit(self.base_url).port if self.keeps_port and self.base_url else free_port())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _address(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        told = []
        for line in self._process.stdout:
            told.append(line)
            found = re.search(r"(?:chat|address)\s+(http://\S+?)/?$", line.strip())
            if found:
                return found[1]
        self.kill()
        raise AssertionError(f"the server did not start: {''.join(told)}")

    def kill(self) -> None:
        """SIGKILL: nothing is said goodbye to."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        return self._end(signal.SIGTERM)

    def signal(self, number: Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end_with(self, number: Signals) -> int:
        """The exit code after a signal that ends it."""
        return self._end(number)

    def _end(self, number: Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        code = process.wait(timeout=40)
        if process.stdout is not None:
            process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
