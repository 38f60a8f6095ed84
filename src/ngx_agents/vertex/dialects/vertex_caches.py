"""Vertex's cachedContents asked and read: a prefix made, renewed, looked up, found among others."""

from __future__ import annotations

from datetime import datetime

import msgspec

from ngx_agents.errors import ModelProtocolError
from ngx_agents.vertex.content import ModelRequest
from ngx_agents.vertex.dialects import vertex_wire as wire
from ngx_agents.vertex.dialects.dialect import UNREADABLE, checked_choice
from ngx_agents.vertex.dialects.vertex import encode_tools
from ngx_agents.vertex.dialects.vertex_config import tool_config

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(wire.CachedContentReply).decode
_decode_page = msgspec.json.Decoder(wire.CachedContentPage).decode


def encode_prefix(request: ModelRequest, *, model_path: str, display_name: str, ttl_s: int) -> bytes:
    """The body that keeps system, tools and their choice. `model_path` is `projects/…/models/…`."""
    choice = checked_choice(request)
    system = wire.Content(role="user", parts=[wire.Part(text=request.system)]) if request.system else None
    return _encode(
        wire.CachedContent(
            model=model_path,
            ttl=f"{ttl_s}s",
            display_name=display_name,
            system_instruction=system,
            tools=msgspec.Raw(encode_tools(request.tools)) if request.tools else None,
            tool_config=tool_config(choice) if choice is not None else None,
        )
    )


def encode_ttl(ttl_s: int) -> bytes:
    return _encode({"ttl": f"{ttl_s}s"})


def decode_kept(body: bytes) -> wire.CachedContentReply:
    """What creating, renewing and looking up answer. Raises ModelProtocolError."""
    try:
        kept = _decode(body)
    except UNREADABLE as exc:
        raise ModelProtocolError("the answer about a kept prefix cannot be understood") from exc
    if not kept.name.rpartition("/")[2]:
        raise ModelProtocolError("the kept prefix has no name")
    return kept


def decode_page(body: bytes) -> list[wire.CachedContentReply]:
    """One page of the kept prefixes. Raises ModelProtocolError."""
    try:
        return _decode_page(body).cached_contents
    except UNREADABLE as exc:
        raise ModelProtocolError("the list of kept prefixes cannot be understood") from exc


def expires_at_s(kept: wire.CachedContentReply) -> float | None:
    """Seconds since the epoch, or None when it does not say."""
    try:
        return datetime.fromisoformat(kept.expire_time or "").timestamp()
    except (ValueError, OverflowError):
        return None
