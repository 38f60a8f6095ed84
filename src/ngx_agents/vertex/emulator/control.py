"""`/_control`: scripting faults and looking at what arrived.

POST `{"faults": [...]}` (or the bare list) replaces the script; `{"revoke_tokens": true}` makes every
issued token invalid. GET shows the state. DELETE forgets script, counters and tokens.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ngx_agents.vertex.emulator.faults import Fault, Script


class Order(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    faults: list[Fault] | None = None
    revoke_tokens: bool = False


class ControlState:
    """What the emulator remembers between calls. `calls` counts model calls, refused ones included."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self.reset()

    def reset(self) -> None:
        self.script = Script(self._seed)
        self.calls = 0
        self.streams_open = 0
        self.streams_left = 0
        self.tokens: set[str] = set()
        self.tokens_issued = 0
        self.last_path: str | None = None
        self.last_body = b""
        self.last_headers: list[tuple[bytes, bytes]] = []

    def apply(self, body: bytes) -> None:
        """Raises msgspec.ValidationError or msgspec.DecodeError."""
        if body.lstrip().startswith(b"["):
            order = Order(faults=msgspec.json.decode(body, type=list[Fault]))
        else:
            order = msgspec.json.decode(body, type=Order)
        if order.faults is not None:
            self.script.load(order.faults)
        if order.revoke_tokens:
            self.tokens.clear()

    def view(self) -> dict[str, Any]:
        """What GET shows. `last_request` is the body of the last model call, as JSON when it is JSON."""
        try:
            last_request = msgspec.json.decode(self.last_body) if self.last_body else None
        except msgspec.DecodeError:
            last_request = self.last_body.decode("utf-8", "replace")
        return {
            "calls": self.calls,
            "streams_open": self.streams_open,
            "streams_left": self.streams_left,
            "tokens_issued": self.tokens_issued,
            "faults": self.script.faults,
            "last_path": self.last_path,
            "last_headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in self.last_headers},
            "last_request": last_request,
        }
