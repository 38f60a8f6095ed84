"""What a model call costs this process: `python -m tests.vertex.transport_cost` prints microseconds of CPU per call.

The emulator runs beside it as a process of its own. Each figure is the best of several rounds, because other work on
the machine only ever adds. A script, not a test: nothing here is asserted.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import uvloop
from tests.emulator_process import start_emulator

from ngx_agents.vertex.client import VertexAIClient
from ngx_agents.vertex.content import Content, ModelRequest, Text, ToolDeclaration
from ngx_agents.vertex.settings import VertexSettings

TransportName = Literal["pyreqwest", "aiohttp"]
TRANSPORTS: tuple[TransportName, ...] = ("pyreqwest", "aiohttp")
AT_ONCE = 20
ROUNDS = 5
TOOLS = tuple(
    ToolDeclaration(name=f"tool_{n}", description="does one thing " * 8, parameters={"type": "object"})
    for n in range(12)
)
HISTORY = tuple(
    Content(role="user" if n % 2 == 0 else "model", parts=(Text(text=f"turn {n}: " + "a few words more " * 10),))
    for n in range(21)
)


def small() -> ModelRequest:
    contents = (Content(role="user", parts=(Text(text="How can I sleep better?"),)),)
    return ModelRequest(system="Be kind.", contents=contents, deadline_s=time.monotonic() + 30)


def long() -> ModelRequest:
    asked = Content(role="user", parts=(Text(text="How can I sleep better?"),))
    contents = (*HISTORY, asked)
    return ModelRequest(system="Be kind.", contents=contents, tools=TOOLS, deadline_s=time.monotonic() + 30)


async def cost_us(call: Callable[[], Awaitable[None]], calls: int) -> tuple[float, float]:
    """CPU of the process and of the loop's own thread, per call, least of the rounds."""

    async def work() -> None:
        for _ in range(calls // AT_ONCE):
            await call()

    rounds: list[tuple[float, float]] = []
    for _ in range(ROUNDS):
        process_s, thread_s = time.process_time(), time.thread_time()
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(work())
        rounds.append(((time.process_time() - process_s) * 1e6 / calls, (time.thread_time() - thread_s) * 1e6 / calls))
    return min(rounds)


async def measure(base_url: str, transport: TransportName) -> None:
    async with VertexAIClient(settings=VertexSettings(base_url=base_url, project="p", transport=transport)) as client:

        async def generate_small() -> None:
            await client.generate(small())

        async def generate_long() -> None:
            await client.generate(long())

        async def stream() -> None:
            async for _ in client.stream(small()):
                pass

        jobs = {
            "small": (generate_small, 4000),
            "21 turns, 12 tools": (generate_long, 2000),
            "50 chunks": (stream, 500),
        }
        for name, (call, calls) in jobs.items():
            process_us, loop_us = await cost_us(call, calls)
            sys.stdout.write(f"{transport:10} {name:20} process {process_us:7.0f} us   loop {loop_us:7.0f} us\n")


def main() -> None:
    with start_emulator(chunks=50) as base_url:
        for transport in TRANSPORTS:
            uvloop.run(measure(base_url, transport))


if __name__ == "__main__":
    main()
