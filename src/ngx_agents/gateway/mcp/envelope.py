"""One MCP message from a POST to what is asked, or to the JSON-RPC error that refuses it.

Two ways of speaking are understood: since 2026-07-28 a request describes itself in `_meta` and in mirrored headers;
before, a client greets with `initialize` and names the version in a header. Neither needs a session here.
Source: MCP 2026-07-28 and 2025-11-25, "Transports"; JSON-RPC 2.0.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ngx_agents import __version__
from ngx_agents.errors import InvalidRequest

MODERN = "2026-07-28"
HANDSHAKES = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")
SERVER = {"name": "ngx-agents", "version": __version__}
PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL = -32700, -32600, -32601, -32602, -32603
HEADER_MISMATCH, UNSUPPORTED_VERSION = -32020, -32022
_VERSION_KEY = "io.modelcontextprotocol/protocolVersion"
_CAPABILITIES_KEY = "io.modelcontextprotocol/clientCapabilities"
_SERVER_KEY = "io.modelcontextprotocol/serverInfo"
_STATUS = {PARSE_ERROR: 400, INVALID_REQUEST: 400, HEADER_MISMATCH: 400, UNSUPPORTED_VERSION: 400}
_MODERN_STATUS = {**_STATUS, METHOD_NOT_FOUND: 404, INVALID_PARAMS: 400}
_encode = msgspec.json.encode
Id = int | str


class McpMessage(msgspec.Struct, frozen=True):
    """One JSON-RPC message. Without `id` a notification, without `method` an answer to nothing."""

    jsonrpc: Literal["2.0"]
    method: str | msgspec.UnsetType = msgspec.UNSET
    id: Id | msgspec.UnsetType = msgspec.UNSET
    params: dict[str, Any] = {}


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to be answered. `is_modern`: it describes itself. `token` wants to hear of progress."""

    id: Id
    method: str
    params: dict[str, Any]
    is_modern: bool
    token: Id | None = None


class Refused(InvalidRequest):
    """A JSON-RPC error; `status` is the HTTP status it goes out with."""

    def __init__(self, code: int, message: str, *, call: Call | None = None, data: object = None) -> None:
        super().__init__(message)
        self.rpc_code = code
        self.call_id = None if call is None else call.id
        self.data = data
        table = _MODERN_STATUS if call is not None and call.is_modern else _STATUS
        self.status = table.get(code, 200)

    def body(self) -> bytes:
        error: dict[str, object] = {"code": self.rpc_code, "message": str(self)}
        if self.data is not None:
            error["data"] = self.data
        return _encode({"jsonrpc": "2.0", "id": self.call_id, "error": error})


_decode = msgspec.json.Decoder(McpMessage).decode


def read_message(raw: bytes, headers: Mapping[bytes, bytes]) -> Call | None:
    """What is asked; None for a notification or an answer, which need no more than to be taken. Raises Refused."""
    try:
        message = _decode(raw)
    except msgspec.ValidationError:
        raise Refused(INVALID_REQUEST, "the body must be one JSON-RPC request or notification") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(PARSE_ERROR, "the body is not JSON in UTF-8") from None
    if message.method is msgspec.UNSET or message.id is msgspec.UNSET:
        return None
    meta = message.params.get("_meta")
    meta = meta if isinstance(meta, dict) else {}
    version = _header(headers, b"mcp-protocol-version")
    token = meta.get("progressToken")
    call = Call(
        id=message.id,
        method=message.method,
        params=message.params,
        is_modern=version == MODERN or _VERSION_KEY in meta or message.method == "server/discover",
        token=token if isinstance(token, int | str) else None,
    )
    _check(call, meta, version=version, headers=headers)
    return call


def result(call: Call, fields: dict[str, Any]) -> bytes:
    """The answer to a call, in its way of speaking."""
    if call.is_modern:
        fields = {"resultType": "complete", "_meta": {_SERVER_KEY: SERVER}, **fields}
    return _encode({"jsonrpc": "2.0", "id": call.id, "result": fields})


def _check(call: Call, meta: dict[str, Any], *, version: str | None, headers: Mapping[bytes, bytes]) -> None:
    if not call.is_modern:
        if version is not None and version not in HANDSHAKES:
            raise _unsupported(call, version)
        return
    missing = [key for key in (_VERSION_KEY, _CAPABILITIES_KEY) if key not in meta]
    if missing:
        raise Refused(INVALID_PARAMS, f"params._meta lacks {', '.join(missing)}", call=call)
    if version != meta[_VERSION_KEY]:
        raise Refused(HEADER_MISMATCH, "MCP-Protocol-Version is not the version in _meta", call=call)
    if _header(headers, b"mcp-method") != call.method:
        raise Refused(HEADER_MISMATCH, "Mcp-Method is not the method of the body", call=call)
    name = call.params.get("name") if call.method == "tools/call" else None
    if name is not None and _header(headers, b"mcp-name") != name:
        raise Refused(HEADER_MISMATCH, "Mcp-Name is not the name in the body", call=call)
    if version != MODERN:
        raise _unsupported(call, version)


def _unsupported(call: Call, version: object) -> Refused:
    data = {"supported": [MODERN, *HANDSHAKES], "requested": version}
    return Refused(UNSUPPORTED_VERSION, "this version of the protocol is not spoken here", call=call, data=data)


def _header(headers: Mapping[bytes, bytes], name: bytes) -> str | None:
    """The value, unwrapped where it stands as base64; None for one that is broken."""
    raw = headers.get(name)
    if raw is None:
        return None
    text = raw.decode("latin-1").strip()
    if not (text.startswith("=?base64?") and text.endswith("?=")):
        return text
    try:
        return b64decode(text[9:-2], validate=True).decode()
    except (Base64Error, UnicodeDecodeError, ValueError):
        return None
