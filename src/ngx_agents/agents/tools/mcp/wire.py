"""What MCP says on the wire, as far as a client that only uses tools reads it. Source: MCP 2026-07-28 and 2025-11-25.

Since 2026-07-28 every request describes itself in `_meta` and there is no handshake; before, `initialize` came first.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from ngx_agents import __version__

MODERN = "2026-07-28"
HANDSHAKES = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the first is asked for
CLIENT = {"name": "ngx-agents", "version": __version__}
METHOD_NOT_FOUND, INTERNAL_ERROR = -32601, -32603
encode = msgspec.json.encode


class RpcError(msgspec.Struct, frozen=True):
    code: int


class Incoming(msgspec.Struct, frozen=True):
    """A response (`result`, empty when there is none, or `error`), a request (`method`, `id`) or a notification."""

    id: int | str | None = None
    method: str | None = None
    result: msgspec.Raw = msgspec.Raw()
    error: RpcError | None = None


class Annotations(msgspec.Struct, frozen=True, rename="camel"):
    read_only_hint: bool | None = None
    idempotent_hint: bool | None = None


class ToolWire(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    annotations: Annotations | None = None


class ToolPage(msgspec.Struct, frozen=True, rename="camel"):
    tools: tuple[ToolWire, ...] = ()
    next_cursor: str | None = None


class ContentBlock(msgspec.Struct, frozen=True, rename="camel"):
    """Of the kinds of content only text is shown to a model; `uri` is a resource link's."""

    type: str
    text: str | None = None
    mime_type: str | None = None
    uri: str | None = None


class CallResult(msgspec.Struct, frozen=True, rename="camel"):
    content: tuple[ContentBlock, ...] = ()
    structured_content: Any = None
    is_error: bool | None = None
    result_type: str = "complete"


class Discovered(msgspec.Struct, frozen=True, rename="camel"):
    supported_versions: tuple[str, ...] = ()


class Initialized(msgspec.Struct, frozen=True, rename="camel"):
    protocol_version: str


def request(method: str, params: dict[str, Any], number: int) -> bytes:
    return encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def notification(method: str, params: dict[str, Any]) -> bytes:
    return encode({"jsonrpc": "2.0", "method": method, "params": params})


def modern_params(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a request that describes itself."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": CLIENT,
    }
    return {**params, "_meta": meta}


def header_value(text: str) -> str:
    """`text` as the value of an MCP header: base64 behind a mark when it would not survive as it is."""
    if text.isascii() and text.isprintable() and text == text.strip() and not text.startswith("=?base64?"):
        return text
    return f"=?base64?{b64encode(text.encode()).decode()}?="
