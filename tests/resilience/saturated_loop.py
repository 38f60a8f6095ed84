"""Saturates an event loop with a task that is always ready, and measures an accept and a model call beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import time
from pathlib import Path

import uvloop
from tests.emulator_process import start_emulator

from ngx_agents.clock import SystemClock
from ngx_agents.resilience.courtesy import Courtesy
from ngx_agents.state import commands as c
from ngx_agents.state.ids import Ids
from ngx_agents.state.model import Owner
from ngx_agents.state.sqlite import SqliteJournal
from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, Text
from ngx_agents.vertex.settings import VertexSettings

SECONDS = 6.0
OWNER = Owner("acme", "ana")


async def _never_idle() -> None:
    while True:
        sum(range(2000))
        await asyncio.sleep(0)


class Probe:
    def __init__(self, folder: Path, base_url: str, *, courtesy: bool) -> None:
        shared = Courtesy(enabled=courtesy)
        self.clock = SystemClock()
        self.ids = Ids(self.clock)
        self.journal = SqliteJournal(folder / "journal.db", courtesy=shared)
        settings = VertexSettings(project="local", base_url=base_url)
        self.client = VertexAIClient(settings=settings, courtesy=shared)
        self.accepts_s: list[float] = []
        self.calls_s: list[float] = []

    async def accept_for(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        while time.perf_counter() < end_s:
            conversation = self.ids.new("c", 1)
            create = c.CreateConversation(id=conversation, owner=OWNER, title="", now=1.0)
            accept = c.AcceptTurn(
                conversation_id=conversation, owner=OWNER, turn_id=self.ids.new("t", 1),
                message_id=self.ids.new("m", 1), text="hola", turn_class=1, when_busy="enqueue", now=1.0,
                deadline_at=2.0, grant_to="me",
            )  # fmt: skip
            began_s = time.perf_counter()
            await self.journal.transact([create, accept])
            self.accepts_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.01)

    async def call_for(self, seconds: float) -> None:
        end_s = time.perf_counter() + seconds
        contents = (Content(role="user", parts=(Text(text="hola"),)),)
        while time.perf_counter() < end_s:
            request = ModelRequest(system="", contents=contents, deadline_s=self.clock.monotonic_s() + 30)
            began_s = time.perf_counter()
            await self.client.generate(request)
            self.calls_s.append(time.perf_counter() - began_s)
            await asyncio.sleep(0.01)


async def _main(folder: Path, *, courtesy: bool) -> dict[str, float]:
    with start_emulator(ttft_ms=0) as base_url:
        probe = Probe(folder, base_url, courtesy=courtesy)
        await probe.journal.open()
        await probe.journal.migrate()
        async with probe.client:
            await probe.call_for(0.5)
            quiet_s = statistics.median(probe.calls_s)
            probe.calls_s.clear()
            async with asyncio.TaskGroup() as tasks:
                busy = tasks.create_task(_never_idle())
                probes = [tasks.create_task(probe.accept_for(SECONDS)), tasks.create_task(probe.call_for(SECONDS))]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(60):
                        await asyncio.wait(probes)
                busy.cancel()
        await probe.journal.close()
    accepts = sorted(probe.accepts_s)
    return {
        "accept_p99_ms": 1000 * accepts[int(0.99 * (len(accepts) - 1))],
        "accept_median_ms": 1000 * statistics.median(accepts),
        "model_added_ms": 1000 * (statistics.median(probe.calls_s) - quiet_s),
        "accepts": len(accepts),
        "calls": len(probe.calls_s),
    }


if __name__ == "__main__":
    found = uvloop.run(_main(Path(sys.argv[1]), courtesy=sys.argv[2] == "on"))
    sys.stdout.write(json.dumps(found))
