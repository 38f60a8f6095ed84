"""Server-sent events, read. Source: WHATWG HTML §9.2.6 (event stream interpretation)."""

from __future__ import annotations

import json
from typing import Any

import msgspec


class ServerEvent(msgspec.Struct, frozen=True):
    """`id` is `<epoch>-<sequence>`; `data` a JSON object."""

    id: str
    name: str
    data: dict[str, Any]


class EventReader:
    """Takes bytes as they come and gives the events that are complete; comments are dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[str, str] = {}
        self.retry_s = 0.0  # when the server wants a lost client back, at the earliest

    def feed(self, chunk: bytes) -> list[ServerEvent]:
        """Raises ValueError for data that is not a JSON object."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        events = []
        for line in lines:
            event = self._line(line.rstrip(b"\r").decode("utf-8", "replace"))
            if event is not None:
                events.append(event)
        return events

    def _line(self, line: str) -> ServerEvent | None:
        if not line:
            return self._finished()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in self._fields:
            value = f"{self._fields['data']}\n{value}"
        if name == "retry" and value.isascii() and value.isdigit() and len(value) < 10:
            self.retry_s = int(value) / 1000
        if name:
            self._fields[name] = value
        return None

    def _finished(self) -> ServerEvent | None:
        fields, self._fields = self._fields, {}
        if "data" not in fields:
            return None
        data = json.loads(fields["data"])
        if not isinstance(data, dict):
            raise ValueError("event data is not a JSON object")
        return ServerEvent(fields.get("id", ""), fields.get("event", "message"), data)
