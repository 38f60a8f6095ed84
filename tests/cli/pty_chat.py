"""`ngx chat` on a terminal of its own, driven like a person does: type, and wait for what shows."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
from pathlib import Path

from tests.cli.command import NGX, clean_environ


class PtyChat:
    """`ngx chat` on a terminal of its own."""

    def __init__(self, url: str, cwd: Path, **variables: str) -> None:
        self._fd, terminal = pty.openpty()
        # a fork that goes on in Python may wait for ever for what another thread held at that moment
        self._process = subprocess.Popen(
            ["setsid", "--ctty", NGX, "chat", "--url", url],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=cwd,
            env=clean_environ(TERM="xterm", **variables),
        )
        os.close(terminal)
        os.set_blocking(self._fd, False)
        self._shown = bytearray()
        self._found_to = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def seen(self) -> str:
        return self._shown.decode(errors="replace")

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    async def until(self, text: str) -> None:
        """Waits until `text` shows, after what was waited for before."""
        async with asyncio.timeout(40):
            while (at := self.seen.find(text, self._found_to)) < 0:
                await asyncio.sleep(0.01)
                self._read()
        self._found_to = at + len(text)

    async def exit_code(self) -> int:
        async with asyncio.timeout(40):
            while True:
                code = self._ended()
                if code is not None:
                    return code
                await asyncio.sleep(0.01)

    def _ended(self) -> int | None:
        self._read()
        code = self._process.poll()
        if code is not None:
            os.close(self._fd)
        return code

    def _read(self) -> None:
        try:
            self._shown += os.read(self._fd, 65536)
        except (BlockingIOError, OSError):
            return
