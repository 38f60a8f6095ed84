"""The frames of a model's stream, when it is one: a web page in its place is told at its first byte."""

from __future__ import annotations

from ngx_agents.errors import ModelProtocolError
from ngx_agents.vertex.sse import FrameSplitter


class Frames:
    """Stateful: feed it every chunk in order, then `finish` it. Raises ModelProtocolError."""

    __slots__ = ("_has_begun", "_splitter")

    def __init__(self) -> None:
        self._splitter = FrameSplitter()
        self._has_begun = False

    def feed(self, chunk: bytes) -> list[bytes]:
        if not self._has_begun:
            first = chunk.lstrip()[:1]
            if first == b"<":
                raise ModelProtocolError("the endpoint answered with a web page: the location or the base URL is wrong")
            self._has_begun = bool(first)
        return self._splitter.feed(chunk)

    def finish(self) -> list[bytes]:
        return self._splitter.finish()
