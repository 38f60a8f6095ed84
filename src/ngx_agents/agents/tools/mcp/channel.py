"""How messages go to an MCP server and its answers come back: the seam between the protocol and stdio or HTTP."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from ngx_agents.agents.tools.mcp.wire import INTERNAL_ERROR, Incoming
from ngx_agents.errors import RemoteProtocolError, RemoteRefused, RemoteUnavailable

MAX_MESSAGE_BYTES = 4 * 2**20  # a longer one ends the connection
_decode = msgspec.json.Decoder(Incoming).decode


class Channel(Protocol):
    """One connection. Everything raises RemoteError."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def request(self, method: str, params: dict[str, Any], *, timeout_s: float) -> bytes:
        """The result, as JSON. Raises RemoteRefused for an error of the server's."""
        ...

    async def notify(self, method: str, params: dict[str, Any]) -> None: ...

    def speak(self, version: str) -> None:
        """From now on in this version of the protocol."""
        ...

    async def ended(self) -> None:
        """Returns when the connection is no more; never where there is nothing that ends."""
        ...


def incoming(raw: bytes) -> Incoming:
    try:
        return _decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise RemoteProtocolError("the tool server's message cannot be read") from exc


def result_of(answer: Incoming) -> bytes:
    """Raises what an error of the server's means."""
    if answer.error is not None:
        if answer.error.code == INTERNAL_ERROR:
            raise RemoteUnavailable("the tool server answered with an internal error")
        raise RemoteRefused(f"the tool server refuses the request with error {answer.error.code}")
    result = bytes(answer.result)
    if not result:
        raise RemoteProtocolError("the tool server's answer has neither a result nor an error")
    return result
