"""What arrived and what became of it: exact counts by operation, location and model, and the last requests on demand.

A call is `received` once, then `answered` or `refused`; a stream also ends as done, left by its reader, or broken by
a fault. The exposition is written from the same numbers when it is asked for, so a call pays for no metric.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.vertex.emulator.target import Target


class Usage(msgspec.Struct):
    """Tokens; `prompt` includes `cached`."""

    prompt: int = 0
    cached: int = 0
    output: int = 0
    thought: int = 0


class Tally(msgspec.Struct, kw_only=True):
    """The counts of one operation, location and model. `refused` by HTTP status, `traffic` by trafficType."""

    operation: str
    location: str
    model: str
    received: int = 0
    answered: int = 0
    refused: dict[str, int] = {}
    traffic: dict[str, int] = {}
    tokens: Usage = msgspec.field(default_factory=Usage)


class Received(msgspec.Struct, frozen=True):
    """A request as it arrived."""

    operation: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    def view(self) -> dict[str, Any]:
        """`body` as JSON when it is JSON, otherwise as text; None when there was none."""
        return {
            "operation": self.operation,
            "path": self.path,
            "headers": {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers},
            "body": _readable(self.body),
        }


_STREAM_ENDS = ("done", "left", "broken")


class Traffic:
    """The counts since the last reset. `calls` counts every call, refused ones included."""

    def __init__(self) -> None:
        self.calls = 0
        self.in_flight = 0
        self.in_flight_max = 0
        self.streams_open = 0
        self.streams_open_max = 0
        self.streams = dict.fromkeys(_STREAM_ENDS, 0)
        self.last: Received | None = None
        self.kept: deque[Received] = deque(maxlen=0)
        self._tallies: dict[tuple[str, str, str], Tally] = {}

    def receive(self, target: Target, request: Received) -> Tally:
        """Counts a call in; `leave` counts it out."""
        self.calls += 1
        self.in_flight += 1
        if self.in_flight > self.in_flight_max:
            self.in_flight_max = self.in_flight
        self.last = request
        if self.kept.maxlen:
            self.kept.append(request)
        key = (target.operation, target.location, target.model)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(operation=key[0], location=key[1], model=key[2])
        tally.received += 1
        return tally

    def leave(self) -> None:
        self.in_flight -= 1

    def open_stream(self) -> None:
        self.streams_open += 1
        self.streams_open_max = max(self.streams_open_max, self.streams_open)

    def close_stream(self, end: str) -> None:
        """`end` is done, left or broken."""
        self.streams_open -= 1
        self.streams[end] += 1

    def keep(self, count: int) -> None:
        """Keeps the last `count` requests from now on."""
        self.kept = deque(self.kept, maxlen=count)

    def view(self) -> dict[str, Any]:
        last = self.last.view() if self.last is not None else {}
        total = {name: sum(getattr(tally.tokens, name) for tally in self._tallies.values()) for name in _TOKENS}
        return {
            "calls": self.calls,
            "in_flight": self.in_flight,
            "in_flight_max": self.in_flight_max,
            "streams_open": self.streams_open,
            "streams_open_max": self.streams_open_max,
            "streams_done": self.streams["done"],
            "streams_left": self.streams["left"],
            "streams_broken": self.streams["broken"],
            "tokens": total,
            "requests": list(self._tallies.values()),
            "last_path": last.get("path"),
            "last_headers": last.get("headers") or {},
            "last_request": last.get("body"),
        }

    def write(self, metrics: Metrics) -> None:
        """Adds the counts to an exposition."""
        labels = ("operation", "location", "model")
        received = metrics.counter("ngx_emulator_requests_total", "Calls received.", *labels)
        answered = metrics.counter("ngx_emulator_answers_total", "Calls answered, wholly or in part.", *labels)
        refused = metrics.counter("ngx_emulator_refusals_total", "Calls refused, by HTTP status.", *labels, "status")
        traffic = metrics.counter("ngx_emulator_traffic_total", "Calls admitted, by trafficType.", *labels, "type")
        tokens = metrics.counter(
            "ngx_emulator_tokens_total", "Tokens billed, cached ones within prompt.", *labels, "kind"
        )
        for key, tally in self._tallies.items():
            received.labels(*key).inc(tally.received)
            answered.labels(*key).inc(tally.answered)
            for status, count in tally.refused.items():
                refused.labels(*key, status).inc(count)
            for kind, count in tally.traffic.items():
                traffic.labels(*key, kind).inc(count)
            for kind in _TOKENS:
                tokens.labels(*key, kind).inc(getattr(tally.tokens, kind))
        metrics.gauge("ngx_emulator_in_flight", "Calls being served.").labels().set(self.in_flight)
        metrics.gauge("ngx_emulator_streams_open", "Streams being sent.").labels().set(self.streams_open)
        ends = metrics.counter(
            "ngx_emulator_streams_total", "Streams that ended: done, left by the reader, broken.", "end"
        )
        for end, count in self.streams.items():
            ends.labels(end).inc(count)


_TOKENS = ("prompt", "cached", "output", "thought")


def _readable(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body) if body else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body.decode("utf-8", "replace")
