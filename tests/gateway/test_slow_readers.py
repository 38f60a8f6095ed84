"""Event streams over the real HTTP server: one reader that stalls, and two thousand that come back at once."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from ngx_agents.agents.turn import AgentEvent, Answered, Desk, TextDelta, TextReset, TurnTask
from ngx_agents.app.door import Bounds
from ngx_agents.gateway.reconnects import PER_S
from ngx_agents.gateway.settings import GatewaySettings
from tests.app.edge_serving import Served, edge
from tests.gateway.script_team import ScriptTeam
from tests.gateway.serving import house

READERS = 20
CROWD = 2_000
FLOOD_BYTES, FLOODS = 65_536, 150


class FloodingTeam(ScriptTeam):
    """`flood` says far more than sockets buffer, and takes it all back; then it answers `after`, once released."""

    async def answer(self, task: TurnTask, desk: Desk) -> AsyncIterator[AgentEvent]:
        for _ in range(FLOODS if task.text == "flood" else 0):
            yield TextDelta("x" * FLOOD_BYTES, "parrot")
            await asyncio.sleep(0.01)
        if task.text == "flood":
            yield TextReset("model_failed")
        for number in range(200 if task.text == "tick" else 0):
            yield TextDelta(f"{number} ", "parrot")
            await asyncio.sleep(0.01)
        if task.text in ("flood", "wait"):
            await self.release.wait()
        text = "after" if task.text == "flood" else "done"
        yield TextReset("corrected")
        yield TextDelta(text, "parrot")
        yield Answered(text=text, source="model", rung="model", agents=("parrot",), model="script-1")


async def _begin(served: Served, text: str) -> str:
    async def post(path: str, body: object) -> dict[str, str]:
        data = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: respond-async\r\n"
        answer = await served.raw(f"{head}Connection: close\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
        found: dict[str, str] = json.loads(answer.partition(b"\r\n\r\n")[2])
        return found

    conversation = await post("/v1/conversations", {})
    return (await post(f"/v1/conversations/{conversation['id']}/turns", {"text": text}))["turn_id"]


async def _listen(
    served: Served, turn_id: str, *, after: str = "", buffer_bytes: int = 0
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    sock = socket.socket()
    if buffer_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, served.address)
    reader, writer = await asyncio.open_connection(sock=sock, limit=4_096 if buffer_bytes else 2**20)
    last = f"Last-Event-ID: {after}\r\n" if after else ""
    writer.write(f"GET /v1/turns/{turn_id}/events HTTP/1.1\r\nHost: localhost\r\n{last}\r\n".encode())
    return reader, writer


async def _gaps_s(served: Served, turn_id: str) -> list[float]:
    """Seconds between the pieces of an answer that is spoken evenly."""
    reader, writer = await _listen(served, turn_id)
    at_s: list[float] = []
    heard = b""
    while b"turn.completed" not in heard:
        heard = heard[-64:] + await reader.read(65_536)
        at_s.append(time.monotonic())
    writer.close()
    return [later - earlier for earlier, later in pairwise(at_s)]


async def test_one_stalled_reader_is_cut_off_and_moves_nobody(tmp_path: Path) -> None:
    team = FloodingTeam()
    async with house(tmp_path, team=team) as made, edge(made.app, Bounds(stalled_s=0.5)) as served:
        flood, tick = await _begin(served, "flood"), await _begin(served, "tick")
        stalled, writer = await _listen(served, flood, buffer_bytes=4_096)
        first = await stalled.readuntil(b"\n\n")
        gaps = await asyncio.gather(*(_gaps_s(served, tick) for _ in range(READERS)))
        every = sorted(gap for each in gaps for gap in each)
        assert every[int(0.99 * len(every))] < 0.5
        async with asyncio.timeout(10):
            while 'bound="stalled"} 1.0' not in served.metrics:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.05)
        writer.close()
        team.release.set()
        last_id = re.findall(rb"id: (\S+)", first)[-1].decode()
        again, writer = await _listen(served, flood, after=last_id)
        rest = b""
        while b"turn.completed" not in rest:
            rest += await again.read(2**20)
        writer.close()
    said = rest.decode().rpartition("text.reset")[2]
    assert "".join(json.loads(data)["text"] for data in re.findall(r"event: text.delta\ndata: (.*)", said)) == "after"


async def _sent_away_ms(served: Served, turn_id: str) -> int:
    """What a listener is told when its server leaves."""
    reader, writer = await _listen(served, turn_id)
    told = b""
    while not told.endswith(b"\r\n0\r\n\r\n"):
        told += await reader.read(65_536)
    writer.close()
    retries = re.findall(rb"retry: (\d+)", told)
    assert len(retries) == 2, told[-300:]
    return int(retries[-1])


@pytest.mark.slow
async def test_two_thousand_listeners_are_sent_away_each_with_a_moment_of_its_own(tmp_path: Path) -> None:
    async with (
        house(tmp_path, GatewaySettings(max_streams=CROWD), team=FloodingTeam()) as made,
        edge(made.app) as served,
    ):
        turn_id = await _begin(served, "wait")
        async with asyncio.TaskGroup() as tasks:
            listening = [tasks.create_task(_sent_away_ms(served, turn_id)) for _ in range(CROWD)]
            async with asyncio.timeout(30):
                while f"ngx_streams_open {CROWD}.0" not in made.deps.metrics.render().decode():  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.1)
            made.engine.begin_drain(0.0)
            await made.engine.hand_over()
        back_ms = [task.result() for task in listening]
    in_each_second = Counter(ms // 1_000 for ms in back_ms)
    assert max(in_each_second.values()) < 1.4 * PER_S
    assert max(back_ms) > 1_000 * CROWD / PER_S / 2
