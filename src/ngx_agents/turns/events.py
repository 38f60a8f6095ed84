"""The events of a turn as they stand on the wire: SSE frames with the id `<epoch>-<sequence>` and JSON data."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ngx_agents.errors import InvalidRequest
from ngx_agents.state.model import Artifact
from ngx_agents.turns.model import TurnView

_encode = msgspec.json.Encoder().encode
_ID = re.compile(r"(\d{1,12})-(\d{1,12})")
HEARTBEAT = b": heartbeat\n\n"
ELSEWHERE = b": the turn goes on elsewhere, come back\n\n"


def frame(name: str, data: Any, event_id: str | None) -> bytes:
    """One SSE frame. JSON has no raw line breaks, so the data is one line."""
    head = f"id: {event_id}\nevent: {name}\ndata: " if event_id is not None else f"event: {name}\ndata: "
    return head.encode() + _encode(data) + b"\n\n"


def parse_event_id(value: str) -> tuple[int, int]:
    """(epoch, sequence). Raises InvalidRequest for what we never send."""
    match = _ID.fullmatch(value.strip())
    if match is None:
        raise InvalidRequest("not an event id of this server", field="Last-Event-ID")
    return int(match[1]), int(match[2])


def artifact_data(artifact: Artifact) -> dict[str, Any]:
    return {"id": artifact.id, "kind": artifact.kind, "title": artifact.title, "data": artifact.data}


def text_data(view: TurnView) -> dict[str, Any]:
    """All that an ended turn said, as one `text.delta`; `outcome` when that is no answer."""
    said: dict[str, Any] = {"text": view.text, "agent": view.agents[0] if view.agents else None}
    return said if view.status != "completed" or view.code is None else said | {"outcome": view.code}


def terminal(view: TurnView) -> tuple[str, dict[str, Any]]:
    """The name and data of the one event that ends a turn's stream."""
    if view.status == "completed":
        return "turn.completed", {
            "turn_id": view.turn_id,
            "source": view.source,
            "rung": view.rung,
            "model": view.model,
            "location": view.location,
            "degraded": view.degraded,
            "agents": view.agents,
            "usage": view.usage,
            "durability": view.durability,
        } | ({"code": view.code} if view.code else {})
    if view.status == "cancelled":
        return "turn.cancelled", {"turn_id": view.turn_id, "code": view.code, "message": view.message}
    failed = {
        "turn_id": view.turn_id,
        "code": view.code or "internal",
        "message": view.message or "the turn failed",
    }
    if view.retry_after_s is not None:
        return "turn.failed", {**failed, "retry_after_s": view.retry_after_s}
    return "turn.failed", failed
