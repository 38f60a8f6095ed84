"""`ngx chat` on a terminal of its own, driven like a person does: type, and wait for what shows."""

from __future__ import annotations

import asyncio
import os
import pty
from pathlib import Path

from tests.cli.command import NGX, clean_environ


class PtyChat:
    """`ngx chat` on a terminal of its own."""

    def __init__(self, url: str, cwd: Path, **variables: str) -> None:
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execve(NGX, [str(NGX), "chat", "--url", url], clean_environ(TERM="xterm", **variables))
        os.set_blocking(self._fd, False)
        self.seen = ""
        self._found_to = 0

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
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status)

    def _read(self) -> None:
        try:
            self.seen += os.read(self._fd, 65536).decode(errors="replace")
        except (BlockingIOError, OSError):
            return
