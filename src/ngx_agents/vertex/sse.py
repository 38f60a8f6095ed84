"""Frames of an event stream, out of chunks that break anywhere.

Lines end at CR, LF or CRLF bytes and nowhere else, so U+2028 inside a string and a chunk that ends inside a UTF-8
character do no harm. Vertex may put an error into the stream as pretty-printed JSON without `data:`; its lines are
collected until the braces balance outside strings and it comes out as a frame like any other.
"""

from __future__ import annotations

import re

from ngx_agents.errors import ModelProtocolError

MAX_FRAME_BYTES = 32 * 1024 * 1024
_LF = 10
_STRING = re.compile(rb'"(?:\\.|[^"\\])*"')


class FrameSplitter:
    """Stateful: feed it every chunk in order, then `finish` it."""

    __slots__ = ("_after_cr", "_data", "_depth", "_raw", "_rest", "_size_bytes")

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # of the line that has not ended
        self._data: list[bytes] = []  # of the event that has not ended
        self._raw: list[bytes] = []  # of the bare JSON that has not ended
        self._depth = 0
        self._size_bytes = 0
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """The frames that `chunk` completes. Raises ModelProtocolError above MAX_FRAME_BYTES."""
        if not chunk:
            return []
        if self._rest or self._data or self._raw or self._after_cr or (frame := _only_frame(chunk)) is None:
            return self._feed(chunk)
        self._size_bytes = 0
        return [frame]

    def _feed(self, chunk: bytes) -> list[bytes]:
        if self._after_cr and chunk[0] == _LF:
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines(keepends=True)
        if self._rest and lines:
            lines[0] = b"".join((*self._rest, lines[0])) if lines[0].endswith((b"\r", b"\n")) else lines[0]
        return self._take(lines)

    def finish(self) -> list[bytes]:
        """The frame that the end of the stream completes, if any: servers may omit the last blank line."""
        return self._take([b"".join(self._rest) + b"\n", b"\n"])

    @property
    def is_inside(self) -> bool:
        """Whether bare JSON has begun and not ended."""
        return bool(self._raw)

    def _take(self, lines: list[bytes]) -> list[bytes]:
        frames: list[bytes] = []
        for line in lines:
            if not line.endswith((b"\r", b"\n")):
                self._keep(line)
                continue
            self._rest.clear()
            frame = self._line(line.rstrip(b"\r\n"))
            if frame is not None:
                self._size_bytes = 0
                frames.append(frame)
        return frames

    def _keep(self, part: bytes) -> None:
        self._rest.append(part)
        self._grow(len(part))

    def _line(self, line: bytes) -> bytes | None:
        if self._raw:
            return self._bare(line)
        if not line:
            if not self._data:
                return None
            frame = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
            self._data = []
            return frame
        if line.startswith(b"data:"):
            self._grow(len(line))
            self._data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            return None
        return self._bare(line) if line.lstrip()[:1] in (b"{", b"[") else None

    def _bare(self, line: bytes) -> bytes | None:
        self._raw.append(line)
        self._grow(len(line))
        outside = _STRING.sub(b"", line)
        self._depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")
        if self._depth > 0:
            return None
        frame = b"\n".join(self._raw)
        self._raw, self._depth = [], 0
        return frame

    def _grow(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes
        if self._size_bytes > MAX_FRAME_BYTES:
            raise ModelProtocolError("the model's stream has a frame that is too large")


def _only_frame(chunk: bytes) -> bytes | None:
    """The frame of a chunk that is one frame as Vertex writes it, which most are; None for any other."""
    if not (chunk.startswith(b"data: ") and chunk.endswith(b"\r\n\r\n")):
        return None
    end = len(chunk) - 4
    if chunk.find(b"\r") != end or chunk.find(b"\n") != end + 1 or end > MAX_FRAME_BYTES:
        return None
    return chunk[6:end]
