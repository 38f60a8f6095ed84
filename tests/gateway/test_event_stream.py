"""Events on their way to a client: when it leaves, when it stalls, and what is read out of frames."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ngx_agents.clock import Rng
from ngx_agents.gateway import event_stream
from ngx_agents.gateway.event_stream import EventStream, frames_of
from ngx_agents.gateway.exchange import Exchange
from ngx_agents.gateway.reconnects import Reconnects
from ngx_agents.telemetry.metrics import Metrics
from ngx_agents.turns.stream import TurnStream


def _reconnects() -> Reconnects:
    return Reconnects(Metrics(), Rng(1))


class _Wire:
    """The ASGI side of one connection."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_ended = False
        self.gone = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        await self.takes.wait()
        if message["type"] == "http.response.body":
            self.sent.append(message["body"])
            self.is_ended = not message.get("more_body", False)

    def exchange(self) -> Exchange:
        return Exchange({"type": "http", "headers": []}, self.receive, self.send)


async def test_a_stream_ends_with_its_turn() -> None:
    wire, stream = _Wire(), TurnStream(100)
    stream.publish("turn.accepted", {})
    stream.close("turn.completed", {})
    await EventStream(stream.subscribe(None)).send_to(wire.exchange(), _reconnects())
    assert [name for name, _ in frames_of(b"".join(wire.sent))] == ["turn.accepted", "turn.completed"]
    assert wire.is_ended
    assert stream.listeners == 0


async def test_a_client_that_leaves_is_unsubscribed_at_once() -> None:
    wire, stream = _Wire(), TurnStream(100)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        streaming = group.create_task(EventStream(stream.subscribe(None)).send_to(wire.exchange(), _reconnects()))
        await asyncio.sleep(0.01)
        assert stream.listeners == 1
        wire.gone.set()
        await streaming
    assert stream.listeners == 0
    assert not wire.is_ended


async def test_a_client_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "STALLED_S", 0.03)
    wire, stream = _Wire(), TurnStream(100)
    stream.publish("turn.accepted", {})
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        streaming = group.create_task(EventStream(stream.subscribe(None)).send_to(wire.exchange(), _reconnects()))
        await asyncio.sleep(0.01)
        wire.takes.clear()
        stream.publish("turn.started", {})
        await streaming
    assert stream.listeners == 0


async def test_listeners_of_a_turn_that_goes_elsewhere_are_told_when_to_come_back() -> None:
    wire, stream = _Wire(), TurnStream(100)
    stream.publish("turn.accepted", {})
    stream.abandon()
    await EventStream(stream.subscribe(None)).send_to(wire.exchange(), _reconnects())
    told = b"".join(wire.sent)
    assert told.count(b"retry: ") == 2
    assert told.startswith(b"retry: ")
    assert told.endswith(b"\n: the turn goes on elsewhere, come back\n\n")
    assert [name for name, _ in frames_of(told)] == ["turn.accepted"]
    assert wire.is_ended


async def test_a_server_that_stops_ends_its_streams() -> None:
    wire, stream = _Wire(), TurnStream(100)
    async with asyncio.TaskGroup() as group:
        streaming = group.create_task(EventStream(stream.subscribe(None)).send_to(wire.exchange(), _reconnects()))
        await asyncio.sleep(0.01)
        streaming.cancel()
    assert streaming.cancelled()
    assert stream.listeners == 0


def test_frames_are_read_without_comments_and_ids() -> None:
    chunk = b': heartbeat\n\nid: 1-2\nevent: text.delta\ndata: {"text":"a"}\n\nevent: x\ndata: {}\n\n'
    assert frames_of(chunk) == [("text.delta", b'{"text":"a"}'), ("x", b"{}")]
