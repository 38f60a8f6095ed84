"""Servers and handlers for the tests of this room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from ngx_agents.a2a.server import A2AServer

PATIENT_S = 10.0
KEYS = (b"a key that all processes of the house have",)


def soon(seconds: float = PATIENT_S) -> float:
    return time.monotonic() + seconds


async def echo(message):
    return message.payload


async def failing(message):
    raise RuntimeError("the secret reason")


class Gate:
    """A handler that holds every message until it is opened, and knows who came and who was cancelled."""

    def __init__(self) -> None:
        self.entered: list[object] = []
        self.cancelled: list[object] = []
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def __call__(self, message):
        self.entered.append(message.payload)
        try:
            await self._open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(message.payload)
            raise
        return message.payload


async def until(is_true: Callable[[], object], within_s: float = PATIENT_S) -> None:
    async with asyncio.timeout(within_s):
        while not is_true():  # noqa: ASYNC110  # what is awaited tells nobody
            await asyncio.sleep(0.001)


def quiet(a2a: A2AServer) -> bool:
    """Nothing waits, runs or is counted anywhere."""
    agents = [a2a.agent(name) for name in a2a.agents]
    return a2a.pending == 0 and all(one.waiting == one.running == 0 for one in agents) and all(
        instance.in_flight == 0 for one in agents for instance in one.pool.instances
    )  # fmt: skip
